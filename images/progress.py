"""Progress of long work: a bar per transfer on a terminal, plain lines elsewhere, nothing with --json.

Work reports to a `Progress` that is passed in; it never prints by itself.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import rich.progress


class Meter(Protocol):
    """One running transfer or step."""

    def advance(self, count: int) -> None:
        """`count` more bytes (or units) are done. Called from worker threads."""

    def note(self, text: str) -> None:
        """A short state shown beside the bar: 'retry 2 in 4 s'."""


class Progress(Protocol):
    """Where long work reports."""

    def say(self, text: str) -> None:
        """One line about a step that has been decided or done."""

    @contextmanager
    def meter(self, label: str, total: int | None = None, unit: str = "bytes") -> Iterator[Meter]:
        """A meter for `total` units (None: not known), shown until the block ends."""
        yield Silent()


class Silent:
    """Says nothing: `--json`, and the default of every function that takes a Progress."""

    def say(self, text: str) -> None: ...

    def advance(self, count: int) -> None: ...

    def note(self, text: str) -> None: ...

    @contextmanager
    def meter(self, label: str, total: int | None = None, unit: str = "bytes") -> Iterator[Meter]:
        yield self


class PlainMeter:
    """At most one line every `every` seconds, so that a log of a long push stays readable."""

    def __init__(self, out: IO[str], label: str, total: int | None, unit: str, every: float = 5.0) -> None:
        self.out, self.label, self.total, self.unit, self.every = out, label, total, unit, every
        self.done, self.started, self.lock = 0, time.monotonic(), threading.Lock()
        self.shown = self.started

    def advance(self, count: int) -> None:
        with self.lock:
            self.done += count
            now = time.monotonic()
            if now - self.shown >= self.every:
                self.shown = now
                self.show(now)

    def note(self, text: str) -> None:
        self.out.write(f"{self.label}: {text}\n")

    def show(self, now: float) -> None:
        rate = self.done / max(now - self.started, 1e-6)
        if self.unit != "bytes":
            self.out.write(f"{self.label}: {self.done}/{self.total or '?'} {self.unit}\n")
            return
        left = f", {(self.total - self.done) / rate:.0f} s left" if self.total and rate else ""
        of = f" of {size(self.total)}" if self.total else ""
        self.out.write(f"{self.label}: {size(self.done)}{of}, {size(rate)}/s{left}\n")


class Plain:
    """Lines on standard error, for pipes and CI."""

    def __init__(self, out: IO[str] | None = None) -> None:
        self.out = out or sys.stderr

    def say(self, text: str) -> None:
        self.out.write(text + "\n")
        self.out.flush()

    @contextmanager
    def meter(self, label: str, total: int | None = None, unit: str = "bytes") -> Iterator[Meter]:
        yield PlainMeter(self.out, label, total, unit)


class RichMeter:
    """A row of the shared rich display."""

    def __init__(self, display: rich.progress.Progress, task: rich.progress.TaskID, label: str) -> None:
        self.display, self.task, self.label = display, task, label

    def advance(self, count: int) -> None:
        self.display.advance(self.task, count)

    def note(self, text: str) -> None:
        self.display.update(self.task, description=f"{self.label} ({text})")


class Terminal:
    """Bars on a terminal: bytes, rate, time left. rich is imported only when the first bar is shown."""

    def __init__(self) -> None:
        self.display: rich.progress.Progress | None = None
        self.open = 0
        self.lock = threading.Lock()

    def say(self, text: str) -> None:
        if self.display is not None:
            self.display.console.print(text, highlight=False, markup=False)
        else:
            sys.stderr.write(text + "\n")

    def begin(self) -> rich.progress.Progress:
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
        from rich.progress import Progress as Display

        with self.lock:
            self.open += 1
            if self.display is None:
                self.display = Display(
                    TextColumn("{task.description}", markup=False),
                    BarColumn(),
                    DownloadColumn(binary_units=False),
                    TransferSpeedColumn(),
                    TimeRemainingColumn(),
                    console=Console(stderr=True),
                    transient=True,
                )
                self.display.start()
            return self.display

    @contextmanager
    def meter(self, label: str, total: int | None = None, unit: str = "bytes") -> Iterator[Meter]:
        display = self.begin()
        task = display.add_task(label, total=total)
        try:
            yield RichMeter(display, task, label)
        finally:
            display.remove_task(task)
            with self.lock:
                self.open -= 1
                if not self.open and self.display is not None:
                    self.display.stop()
                    self.display = None


def for_stream(quiet: bool) -> Progress:
    """The right Progress for this process: silent, bars, or plain lines."""
    if quiet:
        return Silent()
    return Terminal() if sys.stderr.isatty() else Plain()


def size(count: float) -> str:
    """Bytes in powers of ten, as registries and clouds bill them: 1_234_567 -> '1.2 MB'."""
    for unit in ("B", "kB", "MB", "GB"):
        if abs(count) < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
