"""The limits of one run, held against what it spent: the last of three guards, after the trainer's own and the keeper's
in the container, and the only one that sees all machines of the run together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class Spent:
    """What a run has used. usd: all its machines, the failed tries too; usd_hour: what it costs now; billed: how long
    machines of it have been billed; idle: how long the machine has made no step, or its GPUs were idle."""

    usd: Decimal
    usd_hour: Decimal | None
    billed: timedelta
    idle: timedelta = timedelta()


@dataclass(frozen=True, slots=True)
class Bounds:
    """None: no such limit."""

    usd: Decimal | None = None
    usd_hour: Decimal | None = None
    hours: float | None = None
    idle_minutes: float | None = None


@dataclass(frozen=True, slots=True)
class Breach:
    """limit: 'budget', 'hours', 'idle', 'price'; words: for the user and the ledger."""

    limit: str
    words: str


def breaches(spent: Spent, bounds: Bounds, until_next: timedelta) -> Iterator[Breach]:
    """The limits that are reached, or would be before the next look in `until_next`."""
    ahead = (spent.usd_hour or Decimal(0)) * Decimal(until_next.total_seconds()) / 3600
    if bounds.usd is not None and spent.usd + ahead >= bounds.usd:
        yield Breach("budget", f"{spent.usd:.2f} of {bounds.usd:.2f} USD are spent")
    if bounds.hours is not None and spent.billed + until_next >= timedelta(hours=bounds.hours):
        yield Breach("hours", f"{spent.billed.total_seconds() / 3600:.2f} of {bounds.hours:g} hours are used")
    if bounds.idle_minutes is not None and spent.idle >= timedelta(minutes=bounds.idle_minutes):
        yield Breach("idle", f"idle for {spent.idle.total_seconds() / 60:.0f} minutes")
    if bounds.usd_hour is not None and spent.usd_hour is not None and spent.usd_hour > bounds.usd_hour:
        yield Breach("price", f"it costs {spent.usd_hour:.2f} USD/h now, above the limit of {bounds.usd_hour:.2f}")
