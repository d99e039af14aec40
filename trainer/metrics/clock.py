"""Marks in time: on the host's clock, or in a CUDA stream, where a mark is reached when the work before it is done.

A CUDA mark is an event. Recording one neither waits nor synchronises; its time can be read once the GPU has passed it,
which is a step later. The time between two marks is then the GPU's: `data` is how long it stood without work because
the next batch was late, not how long the host spent reading while the GPU was busy anyway.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Protocol


class Marks(Protocol):
    """A source of marks. always: cheap enough for every step."""

    always: bool

    def mark(self) -> Any:
        """Now."""

    def passed(self, mark: Any) -> bool:
        """Whether its time can be read without waiting."""

    def seconds(self, first: Any, second: Any) -> float:
        """From one passed mark to another."""

    def done(self, marks: list[Any]) -> None:
        """These are needed no more."""


class HostMarks:
    """time.perf_counter(): 50 ns a mark."""

    always = True

    def mark(self) -> float:
        """Seconds, from an arbitrary zero."""
        return time.perf_counter()

    def passed(self, mark: float) -> bool:
        """Always."""
        return True

    def seconds(self, first: float, second: float) -> float:
        """Their difference."""
        return second - first

    def done(self, marks: list[float]) -> None:
        """Nothing to give back."""


class CudaMarks:
    """CUDA events with timing, used again and again. make: creates one; torch.cuda.Event(enable_timing=True)."""

    always = False

    def __init__(self, make: Callable[[], Any] | None = None) -> None:
        self._make = make or _cuda_event
        self._free: list[Any] = []

    def mark(self) -> Any:
        """An event, recorded in the current stream."""
        event = self._free.pop() if self._free else self._make()
        event.record()
        return event

    def passed(self, mark: Any) -> bool:
        """Whether the GPU has got there; asks, never waits."""
        return bool(mark.query())

    def seconds(self, first: Any, second: Any) -> float:
        """torch counts milliseconds."""
        return float(first.elapsed_time(second)) / 1000.0

    def done(self, marks: list[Any]) -> None:
        """Back into the pool."""
        self._free.extend(marks)


def _cuda_event() -> Any:
    import torch

    return torch.cuda.Event(enable_timing=True)


def marks_for(device: str) -> Marks:
    """device: 'cpu', 'cuda' or 'cuda:1'."""
    return CudaMarks() if device.startswith("cuda") else HostMarks()
