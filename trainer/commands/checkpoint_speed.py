"""How far a long look at many bytes has come, and how fast it is: one line on standard error."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from typing import TextIO

from trainer.checkpoint.space import size

TERMINAL = 0.25  # seconds between two lines that overwrite each other
LOG = 15.0  # between two lines of a log


class Speed:
    """Counts bytes, from any number of threads. total: bytes to come, 0 when nobody knows."""

    def __init__(
        self,
        what: str,
        total: int,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.what, self.total, self.bytes = what, total, 0
        self._stream, self._clock = stream or sys.stderr, clock
        self._terminal = self._stream.isatty()
        self._began = self._last = clock()
        self._lock = threading.Lock()

    def __call__(self, count: int) -> None:
        """`count` more bytes are done."""
        with self._lock:
            self.bytes += count
            now = self._clock()
            if now - self._last >= (TERMINAL if self._terminal else LOG):
                self._last = now
                self._stream.write(f"\r\x1b[K{self._line()}" if self._terminal else f"trainer: {self._line()}\n")
                self._stream.flush()

    @property
    def seconds(self) -> float:
        """Since the beginning."""
        return self._clock() - self._began

    @property
    def rate(self) -> float:
        """Bytes a second, 0 before the clock has moved."""
        return self.bytes / self.seconds if self.seconds > 0 else 0.0

    def close(self) -> None:
        """Removes the line from a terminal."""
        if self._terminal:
            self._stream.write("\r\x1b[K")
            self._stream.flush()

    def _line(self) -> str:
        done = f"{size(self.bytes)} of {size(self.total)}" if self.total else size(self.bytes)
        left = (self.total - self.bytes) / self.rate if self.rate and self.total else None
        more = f", {left:.0f} s left" if left is not None and left >= 1 else ""
        return f"{self.what}: {done}, {self.rate / 1e6:,.0f} MB/s{more}"
