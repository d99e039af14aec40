"""When the switch in the container ends the machine: at the end of its hours or of its dollars, whichever is first."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from fleet.deploy.container import deadline
from fleet.ledger.values import Limits

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


def hours(limits: Limits, usd_hour: str = "2") -> float | None:
    text = deadline(NOW, limits, Decimal(usd_hour))
    return (int(text) - NOW.timestamp()) / 3600 if text else None


def test_hours_alone_and_dollars_alone():
    assert hours(Limits(hours=3)) == 3
    assert hours(Limits(usd=Decimal(10))) == 5


def test_the_earlier_of_the_two_ends_it_and_a_dearer_machine_ends_earlier():
    limits = Limits(usd=Decimal(10), hours=4)
    assert hours(limits) == 4
    assert hours(limits, "5") == 2


def test_without_a_limit_or_a_time_there_is_none():
    assert deadline(NOW, Limits(), Decimal(2)) == ""
    assert deadline(None, Limits(hours=3), Decimal(2)) == ""


def test_ones_own_machine_costs_nothing_and_has_its_hours():
    assert hours(Limits(usd=Decimal(10), hours=4), "0") == 4


@given(st.decimals("0.01", 1000, places=2), st.floats(0.01, 1000), st.decimals("0.01", 100, places=2))
def test_a_machine_never_costs_more_than_the_budget_before_it_is_ended(usd: Decimal, most: float, usd_hour: Decimal):
    ends = hours(Limits(usd=usd, hours=most), str(usd_hour))
    assert ends is not None
    assert Decimal(str(ends)) * usd_hour <= usd + usd_hour / 3600
    assert ends <= most + 1 / 3600
