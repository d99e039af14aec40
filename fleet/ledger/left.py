"""What is left of a run's limits for one more machine, by all that its machines have used."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal

from fleet.ledger.ledger import Ledger
from fleet.ledger.values import Limits, Run


def billed(ledger: Ledger, run: str, now: datetime) -> timedelta:
    """How long machines of it were rented, one after the other and all together."""
    return sum((max(timedelta(0), (one.ended or now) - one.first) for one in ledger.known(run)), timedelta(0))


def hours_left(ledger: Ledger, run: Run, now: datetime, usd_hour: Decimal) -> float | None:
    """Hours that one more machine of `usd_hour` may be rented before a limit of `run` ends it; None: no limit; 0:
    nothing is left. Orders of which nobody knows what came count as spent."""
    used = ledger.cost(run.name) + ledger.reserved(run.name)
    return affordable_hours(used, billed(ledger, run.name, now), run.limits, usd_hour)


def affordable_hours(usd: Decimal, time: timedelta, limits: Limits, usd_hour: Decimal) -> float | None:
    """The same, of a run that has spent `usd` and been rented for `time`."""
    left = []
    if limits.usd is not None and usd_hour > 0:
        left.append(float(max(Decimal(0), limits.usd - usd) / usd_hour))
    if limits.hours is not None:
        left.append(max(0.0, limits.hours - time.total_seconds() / 3600))
    return min(left) if left else None
