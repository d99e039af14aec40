"""Whether the training of a run folder is well, without torch: fit for a container's health check every few seconds."""

from __future__ import annotations

import time
from pathlib import Path

from trainer.metrics import log
from trainer.run.folder import LOCK, is_owned

STALL_SECONDS = 900.0  # a first step compiles kernels, a save to a slow volume takes minutes


def judge(folder: Path, stall_seconds: float = STALL_SECONDS) -> tuple[bool, str]:
    """(healthy, why). Healthy: no run here; a living trainer that wrote lately; a run that ended by itself."""
    if not (folder / LOCK).exists():
        return True, f"no training in {folder}"
    lines = log.read(folder / log.TRAINING, tail_bytes=4096)
    last = lines[-1] if lines else {}
    step = last.get("step", 0)
    if is_owned(folder):
        age = min(_age(folder / name) for name in (log.TRAINING, LOCK))
        alive = age <= stall_seconds
        return alive, f"{'training' if alive else 'stalled'}: step {step}, last sign {age:.0f} s ago"
    if last.get("event") == "stop":
        return True, f"ended at step {step}: {last.get('reason')}"
    return False, f"the trainer died after step {step} without a word"


def _age(path: Path) -> float:
    try:
        return max(0.0, time.time() - path.stat().st_mtime)
    except OSError:
        return float("inf")
