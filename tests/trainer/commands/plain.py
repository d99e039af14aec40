"""Checkpoint folders of plain bytes: what looks at manifests, sizes and hashes alone needs no tensors."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from trainer.checkpoint import folder, manifest

WEIGHTS = "weights-00000-00.safetensors"
OPTIMIZER = "optimizer-00000-00.safetensors"
STORE = "file:///there"


def checkpoint(run: Path, step: int, best: tuple[float, int] | None = None, **facts: Any) -> Path:
    """A whole one, `latest` pointing to it; best: validation loss and step, as known when it was made."""
    root = run / "checkpoints"
    made = root / folder.name_of(step)
    made.mkdir(parents=True)
    files = {WEIGHTS: b"w%d" % step * 500, OPTIMIZER: b"o%d" % step * 1000, "random-00000.json": b"{}"}
    for name, data in files.items():
        (made / name).write_bytes(data)
    content = {
        "format": manifest.FORMAT,
        "step": step,
        "tokens": 100 * step,
        "identity": {"seed": 1},
        "engine": {"kind": "ddp", "zero": 0, "world": 2},
        "best": {"loss": best[0] if best else None, "step": best[1] if best else 0},
        "files": {
            name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()} for name, data in files.items()
        },
        "tensors": {"a": [2], "exp_avg/a": [2], "buffer/scales": [3]},
        **facts,
    }
    (made / manifest.MANIFEST).write_bytes(manifest.sealed(content))
    (root / folder.LATEST).write_text(made.name + "\n")
    if best and best[1] == step:
        (root / folder.BEST).write_text(made.name + "\n")
    return made


def flip(path: Path) -> None:
    """One bit of a file, its size as before."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def steps(run: Path) -> list[int | None]:
    """Those that are there, newest first."""
    return [folder.step_of(path.name) for path in folder.found(run / "checkpoints")]


def at_store(run: Path, *which: int) -> None:
    """RUN/sync.json as it is when these are whole at the store."""
    names = [folder.name_of(step) for step in which]
    seals = {name: manifest.seal(manifest.read(run / "checkpoints" / name)) for name in names}
    (run / "sync.json").write_text(json.dumps({"remote": STORE, "checkpoints": names, "seals": seals}))
