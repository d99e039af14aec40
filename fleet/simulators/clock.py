"""The simulators' own time: it stands still until somebody sleeps, or runs at a speed of its own.

Time is counted in whole microseconds since 1970, so that money billed by it is exact.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

SECOND = 1_000_000  # microseconds
HOUR = 3600 * SECOND
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
BEGINNING = datetime(2026, 11, 21, tzinfo=UTC)  # of a clock that nobody gave a beginning


def micros(moment: datetime) -> int:
    """`moment` as microseconds since 1970, exactly."""
    return (moment - EPOCH) // timedelta(microseconds=1)


def moment(at: int) -> datetime:
    """The reverse of `micros`."""
    return EPOCH + timedelta(microseconds=at)


class VirtualClock:
    """One time for all simulators of a process. Safe for threads.

    `speed` is virtual seconds per real second; with `math.inf` time stands still but for `sleep` and `advance`, which
    then come back at once. `watch` registers what is called (with no lock held) after the time has been moved.
    """

    def __init__(self, speed: float = math.inf, start: datetime = BEGINNING) -> None:
        if not speed > 0:
            raise ValueError("a clock's speed is above 0")
        self.speed = speed
        self._lock = threading.Lock()
        self._offset = micros(start)
        self._began = time.monotonic()
        self._watchers: list[Callable[[], None]] = []

    def micros(self) -> int:
        """This moment in microseconds since 1970."""
        with self._lock:
            return self._micros()

    def now(self) -> datetime:
        """This moment, with its zone (UTC)."""
        return moment(self.micros())

    def sleep(self, seconds: float) -> None:
        """Comes back when `seconds` of virtual time have passed: really waited for, unless time stands still."""
        if math.isinf(self.speed):
            self.advance(seconds)
        else:
            time.sleep(max(0.0, seconds) / self.speed)
            self.moved()

    def advance(self, seconds: float) -> None:
        """Moves the time forward at once, whatever the speed."""
        with self._lock:
            self._offset += max(0, round(seconds * SECOND))
        self.moved()

    def watch(self, moved: Callable[[], None]) -> None:
        """`moved` is called whenever the time may have passed something's hour."""
        self._watchers.append(moved)

    def moved(self) -> None:
        """Tells the watchers; the server calls it now and then where time runs by itself."""
        for watcher in list(self._watchers):
            watcher()

    def _micros(self) -> int:
        if math.isinf(self.speed):
            return self._offset
        return self._offset + round((time.monotonic() - self._began) * self.speed * SECOND)
