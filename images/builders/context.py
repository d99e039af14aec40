"""The build context: the Dockerfile and one folder per layer, the same bytes, modes and times on every machine."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from images.builders import dockerfile
from images.layers import tar
from images.layers.tar import Entry
from images.layers.tree import at
from images.oci.incoming import room
from images.plan import ImagePlan
from images.progress import Meter, Progress, Silent
from profiles.errors import WrongInput

OURS = frozenset({"Dockerfile", "layers"})


def write(
    plan: ImagePlan,
    layers: Mapping[str, Iterable[Entry]],
    out: Path,
    *,
    base: str | None = None,
    link: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Makes the folder `out` the build context of `plan`: `Dockerfile` and `layers/<name>/<path in the image>`.

    layers: the entries of each of the plan's layers, by name; base, link: see dockerfile.render. An earlier context in
    `out` is replaced as a whole, and only once the new one is complete. Raises WrongInput when `out` holds anything
    else or an entry cannot be in a layer, CheckFailed when a file changed since it was planned, OutsideFailed on a
    full disk.
    """
    text = dockerfile.render(plan, base=base, link=link)
    if missing := [layer.name for layer in plan.layers if layer.name not in layers]:
        raise ValueError(f"no entries for the layers {missing}")
    refuse_other(out)
    arranged = {layer.name: tar.arranged(layers[layer.name]) for layer in plan.layers}
    out.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}-"))
    try:
        with room(out.parent, sum(map(content_size, arranged.values())), "the build context"):
            (fresh / "Dockerfile").write_text(text, encoding="utf-8")
            (fresh / "Dockerfile").chmod(0o644)
            for name, entries in arranged.items():
                place(fresh / "layers" / name, entries, name, progress or Silent())
            settle(fresh)
        swap(fresh, out)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return out


def refuse_other(out: Path) -> None:
    """Raises WrongInput when `out` holds what we did not write: it would be deleted, or sent to the builder."""
    if not out.exists():
        return
    if not out.is_dir():
        raise WrongInput(f"{out} is not a folder", "name a folder that is new or empty")
    if other := sorted(path.name for path in out.iterdir() if path.name not in OURS):
        raise WrongInput(f"{out} is not empty: it holds {other[0]}", "name a folder that is new or empty")


def content_size(entries: Iterable[Entry]) -> int:
    """Bytes of all files."""
    return sum(entry.size for entry in entries if entry.kind == "file")


def place(folder: Path, entries: Sequence[Entry], name: str, progress: Progress) -> None:
    """One layer's arranged entries under `folder`."""
    folder.mkdir(parents=True)
    with progress.meter(f"context {name}", content_size(entries)) as meter:
        for entry in entries:
            one(at(folder, entry.path), entry, meter)


def one(path: Path, entry: Entry, meter: Meter) -> None:
    """One file, folder or link; `path` is inside, because the entry's own path was checked."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if entry.kind == "dir":
        path.mkdir(exist_ok=True)
    elif entry.kind == "symlink":
        path.symlink_to(os.fsdecode(entry.link.encode()))
    else:
        with path.open("xb") as writer:
            for piece in tar.content(entry):
                writer.write(piece)
                meter.advance(len(piece))
        path.chmod(tar.mode_of(entry))


def settle(folder: Path) -> None:
    """Folder modes whatever the umask, and one time for all: BuildKit copies both into the layer.

    Deepest first, because adding a file to a folder touches the folder's own time.
    """
    times = (tar.MTIME, tar.MTIME)
    for parent, folders, files in os.walk(folder, topdown=False):
        for name in (*folders, *files):  # links to folders are listed among the folders
            os.utime(Path(parent, name), times, follow_symlinks=False)
        Path(parent).chmod(0o755)
    os.utime(folder, times)


def swap(fresh: Path, out: Path) -> None:
    """Puts the finished folder in place of an earlier one."""
    if out.exists():
        old = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}-old-"))
        out.rename(old / "context")
        fresh.rename(out)
        shutil.rmtree(old, ignore_errors=True)
    else:
        fresh.rename(out)
