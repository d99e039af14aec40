"""RUN/end.json: at which step the training ended, and why. Sent with the run's files (sync/runfiles.py), so that who
reads the store knows a run that ended early and well from one that was cut off.

It lies beside the checkpoints, not in their manifests: the last step's checkpoint may be there, and sent, before
anybody knows that it is the last one.
"""

from __future__ import annotations

import json
from pathlib import Path

from trainer.checkpoint import folder
from trainer.run.ends import End

FILE = "end.json"
LIMIT = 1 << 16  # bytes; what is larger is none of ours


def keep(run: Path, step: int, end: End) -> None:
    """Writes it, whole or not at all. Raises OSError."""
    content = {"step": step, "reason": end.reason, "exit": end.exit_code}
    folder.replace(run / FILE, (json.dumps(content, indent=1) + "\n").encode())


def read(data: bytes) -> tuple[int, str] | None:
    """(step, reason) of the file's bytes, which may be anything; None when they say nothing."""
    try:
        content = json.loads(data) if len(data) <= LIMIT else None
    except (ValueError, RecursionError):
        return None
    step, reason = (content.get("step"), content.get("reason")) if isinstance(content, dict) else (None, None)
    if isinstance(step, bool) or not isinstance(step, int) or not isinstance(reason, str):
        return None
    return step, reason[:80]


def of_run(run: Path) -> tuple[int, str] | None:
    """As a run folder tells it."""
    try:
        return read((run / FILE).read_bytes())
    except OSError:
        return None
