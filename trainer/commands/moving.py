"""Progress of a transfer on a terminal: bytes, rate, time left; and its lines for people."""

from __future__ import annotations

import argparse
import time
from typing import Any, TextIO

OFTEN = 0.5  # seconds between two drawings
UNITS = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"))


class Bar:
    """One line that is drawn anew on a terminal; elsewhere nothing but the lines for people."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._terminal = stream, stream.isatty()
        self._bytes = self._total = 0
        self._began = self._drawn = time.monotonic()
        self._open = False

    def heard(self, news: dict[str, Any], aloud: bool = True) -> None:
        """Takes what a transfer tells (see trainer/sync/attend.py). aloud: says its lines too, not the warnings alone,
        which come another way."""
        if "expect" in news:
            self._bytes, self._total, self._began = 0, int(news["expect"]), time.monotonic()
        if "moved" in news:
            self._bytes += int(news["moved"])
            self._draw()
        if "say" in news and aloud and not news["say"].startswith("WARNING"):
            self.say(news["say"])

    def say(self, text: str) -> None:
        """A line above the progress."""
        self._clear()
        try:
            print(f"trainer: {text}", file=self._stream, flush=True)
        except (OSError, ValueError):  # a closed terminal
            pass

    def close(self) -> None:
        """Takes the progress away."""
        self._clear()

    def _draw(self) -> None:
        now = time.monotonic()
        if not self._terminal or not self._total or now - self._drawn < OFTEN:
            return
        self._drawn = now
        rate = self._bytes / max(1e-3, now - self._began)
        left = max(0, self._total - self._bytes) / rate if rate else 0.0
        text = f"{amount(self._bytes)} of {amount(self._total)}, {amount(rate)}/s, {left:.0f} s left"
        self._clear()
        self._stream.write(text)
        self._stream.flush()
        self._open = True

    def _clear(self) -> None:
        if self._open:
            self._stream.write("\r\033[K")  # to the line's begin, and empty it (ECMA-48: EL)
            self._open = False


def amount(count: float) -> str:
    """Bytes for people, powers of ten."""
    for size, unit in UNITS:
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count:.0f} B"


def from_0(text: str) -> float:
    """The seconds, or the rate, of a flag. Raises argparse's error when it is no number from 0 up."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a number from 0 up")
    return value
