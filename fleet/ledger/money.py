"""Money as whole micro-USD and back. What is counted against a limit is rounded up."""

from __future__ import annotations

from datetime import timedelta
from decimal import ROUND_CEILING, Decimal

MICRO = Decimal(1_000_000)
HOUR = timedelta(hours=1)
MOST_HOURLY = Decimal(1_000_000)  # USD per hour: above it, it is no price


def micro(usd: Decimal) -> int:
    """Micro-USD, rounded up. Raises ValueError for what is no amount of money."""
    if not usd.is_finite() or not 0 <= usd <= MOST_HOURLY * 1000:
        raise ValueError(f"{usd} is no amount of money")
    return int((usd * MICRO).to_integral_value(ROUND_CEILING))


def usd(micros: int) -> Decimal:
    """USD of micro-USD."""
    return Decimal(micros) / MICRO


def price(told: Decimal | None) -> int | None:
    """A price per hour as micro-USD, 0 included; None for none, or for what can be no price."""
    if told is None or not told.is_finite() or not 0 <= told <= MOST_HOURLY:
        return None
    return micro(told)


def over(usd_hour: int, time: timedelta) -> int:
    """Micro-USD of `time` at micro-USD per hour, rounded up; nothing for a negative time."""
    return max(0, -(-usd_hour * (time // timedelta(microseconds=1)) // (HOUR // timedelta(microseconds=1))))
