"""Signs of life: what the lines of a run's output tell of it. They come from a container and may hold anything."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

LONGEST = 64 << 10  # characters of a line that are read
LAST_YEAR = 4102444800.0  # 2100: a later time is no time
ENDED = re.compile(r"keeper: the run ended with (\d{1,3})(?!\d)")  # templates/run/keeper.py
# The first line of a container that begins, also of one that is started again (templates/run/keeper.py, Keeper.read).
BEGUN = re.compile(r"keeper: .*(can be ended from in here|at the end only this container stops)")


@dataclass(frozen=True, slots=True)
class Signs:
    """The newest of each that was said. at: when the newest step ended, by the machine's own clock; saved: newest step
    whose checkpoint was written there (not: at the remote); seconds: of the newest step; stop: why the training loop
    ended, "" while it goes on; exited: the run script's exit code, once nothing of the run is left to do on the
    machine; told: the time of the newest line that has one, by the machine's own clock; begun: the container began
    after that line, so that its end is no old one."""

    step: int | None = None
    at: datetime | None = None
    loss: float | None = None
    tokens_per_second: float | None = None
    saved: int | None = None
    seconds: float | None = None
    stop: str = ""
    exited: int | None = None
    told: datetime | None = None
    begun: bool = False

    @property
    def training(self) -> bool:
        """Whether it has made a step and did not end."""
        return self.step is not None and not self.stop


def read(lines: Iterable[str], before: Signs | None = None) -> Signs:
    """What `lines`, oldest first, add to what was known `before`."""
    signs = before or Signs()
    for line in lines:
        signs = one(signs, line[:LONGEST])
    return signs


def one(signs: Signs, line: str) -> Signs:
    """`signs` after one more line; a line that is none of ours changes nothing."""
    if ended := ENDED.search(line):
        return replace(signs, exited=int(ended[1]))
    if BEGUN.search(line):
        return replace(signs, stop="", exited=None, begun=True)
    start = line.find("{")
    if start < 0:
        return signs
    try:
        record = json.loads(line[start:])
    except (ValueError, RecursionError):
        return signs
    return event(signs, record) if isinstance(record, dict) else signs


def event(signs: Signs, record: dict[str, Any]) -> Signs:
    """`signs` after a metrics line (trainer/metrics/log.py)."""
    kind, step, at = record.get("event"), whole(record.get("step")), moment(record.get("time"))
    signs = replace(signs, told=at, begun=False) if at else signs
    if kind == "step" and step is not None:
        return replace(
            signs,
            step=step,
            at=at or signs.at,
            loss=number(record.get("loss")),
            tokens_per_second=number(record.get("tokens_per_s")) or signs.tokens_per_second,
            seconds=number(record.get("step_seconds")) or signs.seconds,
            stop="",
            exited=None,
        )
    if kind == "save" and step is not None and not record.get("error"):
        return replace(signs, saved=step)
    if kind == "stop":
        return replace(signs, stop=str(record.get("reason", "unknown"))[:80], exited=None)
    return signs


def number(value: object) -> float | None:
    """A finite number, else None."""
    return float(value) if isinstance(value, (int, float)) and math.isfinite(value) else None


def whole(value: object) -> int | None:
    """A whole number from 0 up, else None."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def moment(value: object) -> datetime | None:
    """Seconds since 1970 as a time."""
    seconds = number(value)
    return datetime.fromtimestamp(seconds, UTC) if seconds is not None and 0 < seconds < LAST_YEAR else None
