"""What a run has used, over all its machines, and what is left of its limits."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal

from fleet.ledger.ledger import Ledger
from fleet.ledger.left import billed as billed
from fleet.ledger.values import Known, Run
from fleet.life.heard import Heard
from fleet.life.verdict import Life
from fleet.watch.limits import Bounds, Spent

AT_WORK = 0.05  # of a GPU's time: below it, it does nothing
# No idleness: a pull is none, nobody knows, or it is not the machine that one waits for.
# What has ended is ended by whoever watches, or kept for what it still has to send.
WAITING = (
    *(Life.BOOTING, Life.UNREADABLE, Life.PAUSED, Life.LOST, Life.STUCK),
    *(Life.DONE, Life.LIMITED, Life.FAILED),
)


def spending(ledger: Ledger, run: Run, known: Known | None, heard: Heard, now: datetime, life: Life) -> Spent:
    """What the run has used at `now`."""
    idle = (heard.quiet if known is not None and life not in WAITING else None) or timedelta(0)
    usd_hour = None if known is None else Decimal(known.usd_hour)
    return Spent(ledger.cost(run.name), usd_hour, billed(ledger, run.name, now), idle)


def bounds(run: Run) -> Bounds:
    """Its limits."""
    return Bounds(run.limits.usd, run.limits.usd_hour, run.limits.hours, run.limits.idle_minutes)
