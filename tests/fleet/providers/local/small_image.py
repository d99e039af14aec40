"""A built image in a state folder, small enough to be made for each test: what `./inv build` leaves behind."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import secrets
import tarfile
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path

from fleet.offers.offer import ON_DEMAND, Offer
from fleet.providers.values import Container, Order
from images.oci.manifest import build
from images.oci.media import OCI_CONFIG, OCI_LAYER, OCI_MANIFEST
from images.store import Store

# Its own in every process of the tests: what is left of a machine is found by its tag, whoever started it.
TAG = f"stk-test-night-{secrets.token_hex(3)}"
ENTRYPOINT = '#!/bin/sh\n[ $# -gt 0 ] || set -- "${STOKER_HOME_DIR:-/opt/stoker}/bin/run"\nexec "$@"\n'
# Says what it was given, saves when it is told to stop.
RUN = """#!/bin/sh
echo "run of $STOKER_RUN as $STOKER_TAG $*"
place=${STOKER_RUN_DIR:-/workspace/runs/it}
mkdir -p "$place"
trap 'echo saved >>"$place/story"; exit 75' TERM
echo began >>"$place/story"
while [ ! -e "$place/end" ]; do sleep 0.05; done
exit "$(cat "$place/end")"
"""


def layer(files: Mapping[str, tuple[str | bytes, int]]) -> bytes:
    """A tar of files by path: (content, mode); mode 0: a symbolic link."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for path, (content, mode) in files.items():
            data = content.encode() if isinstance(content, str) else content
            member = tarfile.TarInfo(path)
            if not mode:
                member.type, member.linkname = tarfile.SYMTYPE, data.decode()
                tar.addfile(member)
                continue
            member.size, member.mode = len(data), mode
            tar.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def scripts(run: str = RUN) -> dict[str, tuple[str | bytes, int]]:
    home = "opt/stoker"
    return {f"{home}/bin/entrypoint": (ENTRYPOINT, 0o755), f"{home}/bin/run": (run, 0o755)}


def busybox(program: str) -> dict[str, tuple[str | bytes, int]]:
    """A base whose programs are all busybox."""
    links: dict[str, tuple[str | bytes, int]] = {
        f"bin/{name}": ("busybox", 0) for name in ("sh", "sleep", "cat", "mkdir", "echo", "env")
    }
    return {"bin/busybox": (Path(program).read_bytes(), 0o755), **links}


def built(
    state: Path,
    files: Mapping[str, tuple[str | bytes, int]] | None = None,
    base: Mapping[str, tuple[str | bytes, int]] | None = None,
    trainer: Mapping[str, tuple[str | bytes, int]] | None = None,
) -> str:
    """Puts an image into the store below `state`. Returns its reference, by digest, in a registry that is not there."""
    layout, rows, ids = Store(state).layout, [], []
    named = {"wheels": base or {"opt/stoker/site/x.py": ("", 0o644)}, "scripts": files or scripts()}
    named["trainer"] = trainer or {"opt/stoker/app/trainer/__init__.py": ("", 0o644)}
    for content in named.values():
        tar = layer(content)
        data = gzip.compress(tar, mtime=0)
        ids.append("sha256:" + hashlib.sha256(tar).hexdigest())
        rows.append({"mediaType": OCI_LAYER + "+gzip", "digest": layout.put_blob(data), "size": len(data)})
    inside = {
        "Entrypoint": ["/opt/stoker/bin/entrypoint"],
        "Env": ["PATH=/bin:/usr/bin", "STOKER_PROFILE=small"],
        "Labels": {"stoker.plan": "x"},
    }
    rootfs = {"type": "layers", "diff_ids": ids}
    config = json.dumps({"architecture": "amd64", "os": "linux", "config": inside, "rootfs": rootfs}).encode()
    described = {"mediaType": OCI_CONFIG, "digest": layout.put_blob(config), "size": len(config)}
    manifest = build({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": described, "layers": rows})
    layout.put_manifest(manifest, "small-1")
    plan = {
        "profile": "small",
        "base": {"name": "none"},
        "layers": [{"name": name} for name in named],
        "config": {"env": [["STOKER_PROFILE", "small"]]},
    }
    row = {"tag": "small-1", "digest": manifest.digest, "built": "2026-11-20T10:00:00Z", "size": 1, "plan": plan}
    (Store(state).images / "small-1.json").write_text(json.dumps(row))
    return f"registry.invalid/me/small@{manifest.digest}"


def order(image: str, tag: str = TAG, gpu: str = "cpu", count: int = 1, **more: object) -> Order:
    """An order for this machine."""
    env = {"STOKER_RUN": "night", "MODEL_TAG": "night", "STOKER_REMOTE": "", **dict(more.pop("env", {}))}
    container = Container("night", image, env=env, **more)
    offer = Offer("local", gpu, count, 0.0, ON_DEMAND, f"local/{gpu}/{count}", "2026-11-20T10:00:00+00:00")
    return Order(tag, offer, container, Decimal(1))
