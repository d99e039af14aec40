"""What something has cost: exact, by kind, from the segments in which it had one price."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from fleet.simulators.clock import HOUR

NANO = Decimal("0.000000001")
PICO = Decimal("0.000000000001")  # rates are held to it: sums of them stay exact


@dataclass(frozen=True)
class Segment:
    """From `start` to `end` (microseconds since 1970) at `rates` (USD per hour, by kind)."""

    start: int
    end: int
    rates: Mapping[str, Decimal]


@dataclass
class Meter:
    """The meter of a machine, a volume, or whatever else bills. World.charge sets the rates."""

    since: int
    rates: dict[str, Decimal] = field(default_factory=dict)
    segments: list[Segment] = field(default_factory=list)
    fees: list[tuple[int, str, Decimal]] = field(default_factory=list)  # when, kind, USD: traffic and the like

    @property
    def rate(self) -> Decimal:
        """USD per hour now."""
        return sum(self.rates.values(), Decimal(0))

    def change(self, now: int, rates: Mapping[str, Decimal]) -> None:
        """From `now` on these rates; a rate of 0 is none."""
        if self.rates and now > self.since:
            self.segments.append(Segment(self.since, now, dict(self.rates)))
        self.since = now
        self.rates = {kind: rate.quantize(PICO) for kind, rate in rates.items() if rate}

    def spent(self, now: int) -> Decimal:
        """USD until `now`, to a billionth."""
        late = sum((usd for at, _, usd in self.fees if at == now), Decimal(0))  # `between` ends before `end`
        return (sum(self.between(0, now).values(), Decimal(0)) + late).quantize(NANO)

    def between(self, start: int, end: int) -> dict[str, Decimal]:
        """USD by kind from `start` to `end`."""
        found: dict[str, Decimal] = {}
        for piece in (*self.segments, Segment(self.since, end, self.rates)):
            length = min(end, piece.end) - max(start, piece.start)
            if length > 0:
                for kind, rate in piece.rates.items():
                    found[kind] = found.get(kind, Decimal(0)) + rate * length / HOUR
        for at, kind, usd in self.fees:
            if start <= at < end:
                found[kind] = found.get(kind, Decimal(0)) + usd
        return found
