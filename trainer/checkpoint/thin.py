"""Weights kept alone, for inference, when the disk is small: what is dropped can never be resumed from, and says so.

Such a checkpoint has an honest manifest of its own: the files that are left, "resumable": false, and, under "whole",
the sha256 of the manifest it had, so that the checkpoints that came after it still know their parent. Verifying it
needs no other rule than that of a whole one.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainer.checkpoint import folder, manifest
from trainer.checkpoint.piece import BUFFER

OPTIMIZER = "optimizer-"


def needed_for_inference(name: str) -> bool:
    """Whether a file of a checkpoint is needed to compute with the model: all but the optimizer's state."""
    return not name.startswith(OPTIMIZER)


def content(whole: Mapping[str, Any]) -> dict[str, Any]:
    """What the manifest says once the optimizer's files are gone; to be sealed by manifest.sealed."""
    return {
        **whole,
        "files": {name: entry for name, entry in whole["files"].items() if needed_for_inference(name)},
        "tensors": {key: shape for key, shape in whole["tensors"].items() if _of_model(key)},
        "resumable": False,
        "whole": whole.get("whole", whole[manifest.OWN]),
    }


def thin(checkpoint: Path) -> int:
    """Drops the optimizer's files of a checkpoint; the bytes that came free.

    The manifest changes first, and at once: a kill leaves files that no manifest names, and the next call removes
    them. Raises manifest.Damaged and OSError.
    """
    before = manifest.read(checkpoint)
    if manifest.resumable(before):
        folder.replace(checkpoint / manifest.MANIFEST, manifest.sealed(content(before)))
    freed = 0
    for path in sorted(checkpoint.glob(f"{OPTIMIZER}*")):
        freed += path.stat().st_size
        path.unlink()
    folder.flush(checkpoint)
    return freed


def _of_model(key: str) -> bool:
    kind, slash, _ = key.partition("/")
    return not slash or kind == BUFFER
