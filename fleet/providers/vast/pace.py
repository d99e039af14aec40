"""Vast's limits: a least interval between calls, per endpoint and key, and no word of it before the 429 comes
(providers.md 2.1). Waiting our turn is cheaper than being refused: a refused create may bring a penalty."""

from __future__ import annotations

import re
import threading
from collections import deque
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from fleet.clock import Clock

# (methods, path, calls, seconds): at most `calls` within `seconds`. The table of 2.1; the first that fits counts.
TURNS: tuple[tuple[str, str, int, float], ...] = (
    ("PUT", r"/api/v0/asks/\d+/", 1, 4.5),
    ("POST", r"/api/v0/bundles/", 10, 60.0),  # per minute and address
    ("GET", r"/api/v1/instances/", 1, 1.0),
    ("GET", r"/api/v0/instances/\d+/", 1, 2.0),
    ("PUT", r"/api/v0/instances/\d+/", 1, 1.0),
    ("DELETE", r"/api/v0/instances/\d+/", 1, 3.0),
    ("GET", r"/api/v0/template/", 1, 3.0),
    ("GET", r"/api/v0/secrets/", 1, 5.0),
    ("[A-Z]+", r"/api/v0/secrets/", 1, 3.0),
    ("GET", r"/api/v0/volumes/", 1, 5.5),
    ("[A-Z]+", r".*", 1, 1.0),  # not given for the rest
)
CREATE_AGAIN = 12.0  # seconds after a create that came too soon: the penalty of 2.1
DESTROY_AGAIN = 3.0
MOST_WAITING = 8  # intervals: a clock that was set back must not make anybody wait for hours


@dataclass(slots=True)
class Pace:
    """Called before each request: sleeps until its endpoint may be called again. One per key and process."""

    clock: Clock
    _taken: dict[int, deque[datetime]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, method: str, path: str) -> None:
        turn, calls, seconds = turn_of(method, path)
        interval = timedelta(seconds=seconds)
        with self._lock:  # the turn is taken before the sleep: two threads never share one
            now = self.clock.now()
            taken = self._taken.setdefault(turn, deque(maxlen=calls))
            at = max(now, taken[0] + interval) if len(taken) == calls else now
            at = min(at, now + MOST_WAITING * interval)
            taken.append(at)
        if at > now:
            self.clock.sleep((at - now).total_seconds())


def turn_of(method: str, path: str) -> tuple[int, int, float]:
    """(which endpoint, calls, seconds) of a request."""
    for place, (methods, paths, calls, seconds) in enumerate(TURNS):
        if re.fullmatch(methods, method) and re.fullmatch(paths, path):
            return place, calls, seconds
    raise AssertionError("the last row fits everything")
