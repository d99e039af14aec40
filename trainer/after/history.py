"""What a run wrote of itself while it trained. No torch; a file that is missing or torn is no fault."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

METRICS = "training_metrics.jsonl"
TAIL = 1 << 18  # bytes from the end: some hundred lines


def tail(run: Path) -> list[dict[str, Any]]:
    """The newest lines of the run's metrics, oldest first."""
    try:
        with (run / METRICS).open("rb") as stream:
            size = stream.seek(0, 2)
            stream.seek(max(0, size - TAIL))
            lines = stream.read().splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        try:
            value = json.loads(line)
        except ValueError:
            continue  # the first of a tail, or the last of a killed process
        if isinstance(value, dict):
            found.append(value)
    return found


def last(run: Path, event: str) -> dict[str, Any] | None:
    """The newest line of one kind."""
    return next((line for line in reversed(tail(run)) if line.get("event") == event), None)
