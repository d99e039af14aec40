"""A number with its unit, its range and where it came from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """`value` in `unit` (bytes, seconds, tokens/s, USD, ...); low and high: the range it is expected in.

    source: one line a reader can check it by: a formula with its paper, a measurement with its place, a flag.
    """

    value: float
    unit: str
    source: str
    low: float | None = None
    high: float | None = None

    def times(self, factor: float, unit: str = "", source: str = "") -> Figure:
        """Scaled, range and all."""
        return Figure(
            self.value * factor,
            unit or self.unit,
            source or self.source,
            None if self.low is None else self.low * factor,
            None if self.high is None else self.high * factor,
        )
