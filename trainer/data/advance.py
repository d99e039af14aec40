"""How far a preparation is: one line on standard error, renewed on a terminal, every few seconds elsewhere."""

from __future__ import annotations

import sys
import time
from typing import TextIO

TERMINAL, ELSEWHERE = 0.25, 10.0  # seconds between two lines


class Advance:
    """total: bytes of the sources on disk, 0 when not known. done: of them, by an earlier attempt."""

    def __init__(self, what: str, total: int, done: int = 0, quiet: bool = False, stream: TextIO | None = None) -> None:
        self.what, self.total, self.done, self.quiet = what, total, done, quiet
        self.stream = stream or sys.stderr
        self.begun = self.said = time.monotonic()
        self.terminal = self.stream.isatty()

    def tell(self, documents: int, tokens: int, text: int, weight: int) -> None:
        """Numbers of the whole preparation; text: in bytes. Says them when it is time."""
        now = time.monotonic()
        if self.quiet or now - self.said < (TERMINAL if self.terminal else ELSEWHERE):
            return
        self.said = now
        self._write(self.line(documents, tokens, text, weight, now - self.begun))

    def line(self, documents: int, tokens: int, text: int, weight: int, seconds: float) -> str:
        """What it says."""
        new = max(0, weight - self.done)
        words = [f"{self.what}: {documents:,} documents, {tokens:,} tokens, {text / 1e6:,.1f} MB"]
        if seconds > 0:
            words.append(f"{new / 1e6 / seconds:.1f} MB/s")
        if self.total and new:
            left = seconds * max(0, self.total - weight) / new
            words.append(f"{min(1.0, weight / self.total):.0%}, {_time(left)} left")
        return ", ".join(words)

    def end(self) -> None:
        """No more lines: leaves the terminal on a fresh one."""
        if self.terminal and not self.quiet and self.said > self.begun:
            self.stream.write("\n")
            self.stream.flush()

    def _write(self, line: str) -> None:
        self.stream.write(f"\r\x1b[K{line}" if self.terminal else f"{line}\n")
        self.stream.flush()


def _time(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
