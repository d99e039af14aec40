"""The baked part of an image of our own store as a folder: run scripts, trainer and profile, byte by byte the image's.

Its base and its wheels stay packed: a plain process runs with the Python that we run with.
"""

from __future__ import annotations

import json
import shutil
import tarfile
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

from fleet.providers.local.fetch import built, digest_of
from fleet.providers.outcomes import Because, NotCreated
from profiles.errors import StokerError

LAYERS = ("scripts", "trainer")  # of the plan; all others are wheels
WITHOUT = "a plain process runs only what was built here: ./inv build, or start Docker (systemctl start docker)"


@dataclass(frozen=True, slots=True)
class Baked:
    """root: where the image's `/` is unpacked; env: what the image's configuration sets."""

    root: Path
    env: Mapping[str, str]

    @property
    def home(self) -> Path:
        from images.plan import HOME

        return self.root / HOME

    def inside(self, path: str) -> str:
        """A path of the image as it is here: /opt/stoker/bin/run; anything else stays."""
        from images.plan import HOME

        return str(self.root / path.lstrip("/")) if path.startswith(f"/{HOME}/") else path


def baked(reference: str, state: Path, folder: Path) -> Baked:
    """The image unpacked below `folder`, once per digest. Raises NotCreated when our store does not hold it whole."""
    row = plan_of(reference, state)
    if row is None:
        raise NotCreated(
            Because.INVALID, f"local: there is no Docker Engine here, and {reference} is not in .stoker", WITHOUT
        )
    root = folder / digest_of(reference).removeprefix("sha256:")[:16]
    if not root.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=".draft-", dir=folder))
        try:
            unpack(reference, row, state, draft)
            draft.replace(root)
        except (OSError, StokerError, tarfile.TarError) as error:
            shutil.rmtree(draft, ignore_errors=True)
            if not root.is_dir():  # else another process was faster
                what = getattr(error, "what", str(error))
                raise NotCreated(Because.INVALID, f"local: cannot unpack {reference}: {what}", WITHOUT) from None
    return Baked(root, {str(name): str(value) for name, value in row["config"]["env"]})


def plan_of(reference: str, state: Path) -> dict[str, Any] | None:
    """The plan that our store remembers of an image."""
    from images.checks.listing import rows
    from images.store import Store

    if not (state / "images").is_dir():
        return None
    found = (row for row in rows(Store(state)) if row["digest"] == digest_of(reference))
    plan = next((row["plan"] for row in found), None)
    return json.loads(json.dumps(plan)) if plan else None


def unpack(reference: str, plan: Mapping[str, Any], state: Path, target: Path) -> None:
    """Our own layers lie on top of the base's, in the plan's order. Only plain files below the image's home."""
    from images.checks.unpacked import Unpacked, from_store
    from images.store import Store

    manifest = built(reference, state)
    if manifest is None:
        raise StokerError("its layers are not all there", WITHOUT)
    names = [layer["name"] for layer in plan["layers"]]
    for name, layer in zip(reversed(names), reversed(manifest.layers), strict=False):
        if name not in LAYERS:
            continue
        Unpacked(from_store(Store(state), layer.digest)).visit(partial(place, target))


def place(target: Path, member: tarfile.TarInfo, content: IO[bytes] | None) -> None:
    """Writes one file of a layer; folders come with their files, and links are not ours."""
    from images.plan import HOME

    path = Path(member.name)
    if content is None or ".." in path.parts or not member.name.startswith(f"{HOME}/"):
        return
    (target / path).parent.mkdir(parents=True, exist_ok=True)
    (target / path).write_bytes(content.read())
    (target / path).chmod(0o755 if member.mode & 0o100 else 0o644)
