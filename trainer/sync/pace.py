"""The speed of a transfer: a rate that it is held to, and signs of life while it waits."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

NAP = 0.5  # seconds; between two signs of life while a transfer is held back


class Pace:
    """A store's `moved`: counts bytes, tells `alive` of them, and sleeps where they come faster than `rate`.

    rate: bytes per second, 0 for no limit; up to one second's worth may go at once. It holds what passes through
    `moved` while the transfer waits for it. A library that sends from threads of its own and reports afterwards
    (hf-xet does) goes at its own speed; there the limit holds on average only.
    """

    def __init__(
        self,
        rate: float = 0.0,
        alive: Callable[[int], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.bytes = 0
        self._rate, self._alive, self._clock, self._sleep = rate, alive, clock, sleep
        self._free = clock()  # when all that went so far is paid for
        self._lock = threading.Lock()

    def __call__(self, count: int) -> None:
        """`count` bytes went over the line; 0: nothing did, but all is well."""
        self._alive(count)
        with self._lock:
            self.bytes += count
            if self._rate <= 0 or count <= 0:
                return
            now = self._clock()
            self._free = max(self._free, now - 1.0) + count / self._rate
            wait = self._free - now
        while wait > 0:
            self._sleep(min(wait, NAP))
            wait -= NAP
            self._alive(0)
