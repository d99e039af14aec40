"""Axes: where the ticks go and where a value lies, linear or logarithmic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, log10

NICE = (1.0, 2.0, 2.5, 5.0, 10.0)
DECADES = 0.75  # a wider range than this many powers of ten is drawn with a logarithmic axis


def nice_step(span: float, most: int) -> float:
    """The smallest 1, 2, 2.5 or 5 times a power of ten that cuts `span` (> 0) into at most `most` (>= 1) pieces."""
    rough = span / most
    power = 10.0 ** floor(log10(rough))
    return next((n * power for n in NICE if n * power >= rough * (1 - 1e-9)), 10.0 * power)


def linear_ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Evenly apart, from the last tick not above `low` to the first not below `high` (0 <= low < high)."""
    step = nice_step(high - low, most)
    first, last = floor(low / step + 1e-9), ceil(high / step - 1e-9)
    return [index * step for index in range(first, last + 1)]


def log_ticks(low: float, high: float, most: int = 8) -> list[float]:
    """1, 2, 5 per power of ten (fewer over many powers), the outermost at or beyond 0 < low <= high."""
    first, last = floor(log10(low)) - 1, ceil(log10(high)) + 1
    for digits in ((1, 2, 3, 5), (1, 2, 5), (1, 3), (1,)):
        all_ticks = [digit * 10.0**power for power in range(first, last + 1) for digit in digits]
        start = max(i for i, tick in enumerate(all_ticks) if tick <= low * (1 + 1e-9))
        stop = min(i for i, tick in enumerate(all_ticks) if tick >= high * (1 - 1e-9))
        stop = max(stop, start + 1)
        if stop - start < most:
            break
    return all_ticks[start : stop + 1]


@dataclass(frozen=True, slots=True)
class Axis:
    """Ticks from its first to its last value, over pixels `start` to `end` (end < start: it grows upwards)."""

    ticks: tuple[float, ...]
    start: float
    end: float
    logarithmic: bool = False

    def at(self, value: float) -> float:
        """The pixel of `value`, held inside the axis."""
        low, high = self.ticks[0], self.ticks[-1]
        value = min(max(value, low), high)
        share = log10(value / low) / log10(high / low) if self.logarithmic else (value - low) / (high - low)
        return self.start + share * (self.end - self.start)


def axis(values: Sequence[float], start: float, end: float, most: int = 7) -> Axis:
    """An axis that holds all `values` (> 0, at least one): logarithmic if they differ by much."""
    low, high = min(values), max(values)
    if log10(high / low) > DECADES:
        return Axis(tuple(log_ticks(low, high, most)), start, end, True)
    room = 0.06 * (high - low) or 0.5 * high
    return Axis(tuple(linear_ticks(max(0.0, low - room), high + room, most)), start, end)
