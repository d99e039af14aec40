"""What a run has used, over all its machines, and what is left of its limits."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal

from fleet.ledger.ledger import Ledger
from fleet.ledger.values import Known, Run
from fleet.life.heard import Heard
from fleet.life.verdict import Life
from fleet.watch.limits import Bounds, Spent, affordable_hours

AT_WORK = 0.05  # of a GPU's time: below it, it does nothing
# No idleness: a pull is none, nobody knows, or it is not the machine that one waits for.
WAITING = (Life.BOOTING, Life.UNREADABLE, Life.PAUSED, Life.LOST, Life.STUCK)


def billed(ledger: Ledger, run: str, now: datetime) -> timedelta:
    """How long machines of it were rented, one after the other and all together."""
    return sum((max(timedelta(0), (one.ended or now) - one.first) for one in ledger.known(run)), timedelta(0))


def spending(ledger: Ledger, run: Run, known: Known | None, heard: Heard, now: datetime, life: Life) -> Spent:
    """What the run has used at `now`."""
    sending = (
        life in (Life.DONE, Life.LIMITED) and heard.signs.exited is None
    )  # its last checkpoint, which is all of it
    idle = (heard.quiet if known is not None and life not in WAITING and not sending else None) or timedelta(0)
    usd_hour = None if known is None else Decimal(known.usd_hour)
    return Spent(ledger.cost(run.name), usd_hour, billed(ledger, run.name, now), idle)


def bounds(run: Run) -> Bounds:
    """Its limits."""
    return Bounds(run.limits.usd, run.limits.usd_hour, run.limits.hours, run.limits.idle_minutes)


def hours_left(ledger: Ledger, run: Run, now: datetime, usd_hour: Decimal) -> float | None:
    """Hours that one more machine of `usd_hour` may be rented before a limit of hours or dollars; None: no limit.

    Orders of which nobody knows what came count as spent.
    """
    spent = Spent(ledger.cost(run.name) + ledger.reserved(run.name), None, billed(ledger, run.name, now))
    return affordable_hours(spent, bounds(run), usd_hour)
