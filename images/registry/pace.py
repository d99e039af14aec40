"""How often, how long: retry budget, backoff with jitter, and the pause all workers of one registry share."""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass
from typing import Protocol


class Clock(Protocol):
    """Time as it is passed in, so that tests do not wait."""

    def monotonic(self) -> float: ...

    def now(self) -> float:
        """Seconds since 1970."""

    def sleep(self, seconds: float) -> None: ...


class WallClock:
    """The machine's clock."""

    def monotonic(self) -> float:
        return time.monotonic()

    def now(self) -> float:
        return time.time()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """tries: of one request, or of one blob without progress; seconds: first backoff, longest backoff, and the longest
    Retry-After that is obeyed; connect and idle time-outs in seconds (there is no limit on a whole transfer).
    """

    tries: int = 6
    base_seconds: float = 0.5
    ceiling_seconds: float = 20.0
    retry_after_ceiling: float = 300.0
    connect_seconds: float = 10.0
    idle_seconds: float = 60.0

    def delay(self, failures: int) -> float:
        """Seconds to wait after the n-th failure in a row: doubling, half of it random."""
        full = min(self.ceiling_seconds, self.base_seconds * 2.0 ** (failures - 1))
        return full * (0.5 + random.random() / 2)


class Pause:
    """Retry-After of one registry: one worker hears it, all of them wait."""

    def __init__(self, clock: Clock) -> None:
        self.clock, self.lock, self.until = clock, threading.Lock(), 0.0

    def extend(self, seconds: float) -> None:
        with self.lock:
            self.until = max(self.until, self.clock.monotonic() + seconds)

    def wait(self) -> None:
        while (left := self.until - self.clock.monotonic()) > 0:
            self.clock.sleep(left)


def retry_after(text: str | None, clock: Clock, ceiling: float) -> float | None:
    """Seconds that a Retry-After header asks for: a number or an HTTP date (RFC 9110, 10.2.3)."""
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        from email.utils import parsedate_to_datetime

        try:
            seconds = parsedate_to_datetime(text).timestamp() - clock.now()
        except (ValueError, TypeError):
            return None
    return min(max(seconds, 0.0), ceiling) if seconds == seconds else None
