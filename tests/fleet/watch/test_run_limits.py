"""The limits of a run hold before they are passed, not after."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from fleet.ledger.left import affordable_hours
from fleet.ledger.values import Limits
from fleet.watch.limits import Bounds, Spent, breaches

LOOK = timedelta(seconds=30)


def limits(spent: Spent, bounds: Bounds) -> list[str]:
    return [breach.limit for breach in breaches(spent, bounds, LOOK)]


def spent(usd: str = "1", usd_hour: str | None = "2", hours: float = 1, idle: float = 0) -> Spent:
    return Spent(Decimal(usd), usd_hour and Decimal(usd_hour), timedelta(hours=hours), timedelta(minutes=idle))


def test_without_limits_nothing_is_reached():
    assert limits(spent(), Bounds()) == []


def test_a_budget_is_reached_when_the_next_look_would_be_too_late():
    assert limits(spent("9.99"), Bounds(usd=Decimal(10))) == ["budget"]
    assert limits(spent("9.98"), Bounds(usd=Decimal(10))) == []


def test_hours_idleness_and_price_are_limits_of_their_own():
    bounds = Bounds(hours=1, idle_minutes=10, usd_hour=Decimal("1.5"))
    assert limits(spent(idle=10), bounds) == ["hours", "idle", "price"]


def test_a_price_that_is_not_told_is_no_breach_and_the_spent_dollars_still_count():
    bounds = Bounds(usd=Decimal(10), usd_hour=Decimal(1))
    assert limits(spent("3", None), bounds) == []
    assert limits(spent("11", None), bounds) == ["budget"]


@given(st.decimals(0, 1000, places=2), st.decimals("0.01", 100, places=2), st.decimals(0, 1000, places=2))
def test_polling_every_half_minute_never_overspends(budget: Decimal, usd_hour: Decimal, start: Decimal):
    used = Spent(start, usd_hour, timedelta())
    bounds = Bounds(usd=budget)
    if limits(used, bounds):
        return
    assert start + usd_hour * 30 / 3600 < budget


@given(st.decimals(0, 1000, places=2), st.decimals("0.01", 100, places=2), st.decimals(0, 1000, places=2))
def test_what_can_be_afforded_costs_no_more_than_what_is_left(budget: Decimal, usd_hour: Decimal, start: Decimal):
    hours = affordable_hours(start, timedelta(), Limits(usd=budget), usd_hour)
    assert hours is not None
    assert hours * float(usd_hour) <= max(0.0, float(budget - start)) + 1e-6
