"""Money is counted from the moment an order left until its machine is proven gone, never less than is billed."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.ledger.ledger import Ledger
from fleet.ledger.money import micro, over, usd
from fleet.ledger.values import Limits, Run
from fleet.providers.values import State
from tests.fleet.ledger.conftest import HandClock
from tests.fleet.ledger.ledger_rows import machine, sent, wished


def test_a_machine_costs_from_its_order_to_its_end(ledger: Ledger, hand: HandClock):
    tag = sent(ledger, wished(ledger))
    hand.sleep(1800)
    ledger.created(tag, machine(tag))
    hand.sleep(1800)
    ledger.saw("vast", [machine(tag)], hand.now(), True)
    assert ledger.cost("night") == 2
    hand.sleep(3600)
    assert ledger.cost("night") == 4  # up to now, seen or not
    ledger.end("vast", "1", "done")
    hand.sleep(36000)
    assert ledger.cost("night") == 4


def test_before_a_price_is_told_the_cap_counts_and_the_first_one_corrects_it(ledger: Ledger, hand: HandClock):
    tag = sent(ledger, wished(ledger), most="5")
    ledger.created(tag, machine(tag, usd_hour=None))
    hand.sleep(3600)
    ledger.saw("vast", [machine(tag, usd_hour=None)], hand.now(), True)
    assert ledger.cost("night") == 5
    ledger.saw("vast", [machine(tag, usd_hour="2.5")], hand.now(), True)
    assert ledger.cost("night") == Decimal("2.5")


@pytest.mark.parametrize("told", [None, "0", "-1", "NaN", "Infinity", "1e12"])
def test_a_price_that_is_missing_or_none_is_the_last_known_one_and_that_is_said(
    ledger: Ledger, hand: HandClock, told: str | None
):
    tag = sent(ledger, wished(ledger))
    ledger.created(tag, machine(tag))
    for _ in range(3):
        hand.sleep(3600)
        ledger.saw("vast", [machine(tag, usd_hour=told)], hand.now(), True)
    assert ledger.cost("night") == 6
    assert [event.kind for event in ledger.events("night")].count("unpriced") == 1
    assert ledger.live()[0].assumed


def test_a_stopped_machine_may_cost_nothing_a_running_one_never(ledger: Ledger, hand: HandClock):
    tag = sent(ledger, wished(ledger))
    ledger.created(tag, machine(tag))
    ledger.saw("vast", [machine(tag, usd_hour="0", state=State.STOPPED)], hand.now(), True)
    hand.sleep(3600)
    assert ledger.cost("night") == 0


def test_what_was_ordered_for_nothing_costs_nothing(ledger: Ledger, hand: HandClock):
    tag = sent(ledger, wished(ledger), usd_hour="0", most="9")
    ledger.created(tag, machine(tag, usd_hour="0"))
    hand.sleep(3600)
    assert ledger.cost("night") == 0


def test_the_time_between_two_sights_is_counted_at_the_dearer_price(ledger: Ledger, hand: HandClock):
    tag = sent(ledger, wished(ledger))
    ledger.created(tag, machine(tag, usd_hour="2"))
    hand.sleep(3600)
    ledger.saw("vast", [machine(tag, usd_hour="4")], hand.now(), True)
    assert ledger.cost("night") == 4
    hand.sleep(3600)
    ledger.saw("vast", [machine(tag, usd_hour="1")], hand.now(), True)
    assert ledger.cost("night") == 8
    hand.sleep(3600)
    assert ledger.cost("night") == 9


def test_a_clock_that_is_set_back_takes_nothing_away_and_counts_on(ledger: Ledger, hand: HandClock):
    tag = sent(ledger, wished(ledger))
    ledger.created(tag, machine(tag))
    hand.sleep(3600)
    ledger.saw("vast", [machine(tag)], hand.now(), True)
    hand.time -= timedelta(hours=5)
    ledger.saw("vast", [machine(tag)], hand.now(), True)
    assert ledger.cost("night") == 2
    hand.sleep(3600)
    ledger.saw("vast", [machine(tag)], hand.now(), True)
    assert ledger.cost("night") == 4
    assert "clock" in [event.kind for event in ledger.events("night")]


def test_a_clock_that_was_decades_off_does_not_cost_a_million(ledger: Ledger, hand: HandClock):
    tag = sent(ledger, wished(ledger))
    ledger.created(tag, machine(tag))
    hand.time += timedelta(days=365 * 40)
    ledger.saw("vast", [machine(tag)], hand.now(), True)
    assert ledger.cost("night") < 1


def test_a_run_costs_all_its_machines_and_what_failed_too(ledger: Ledger, hand: HandClock):
    wish = wished(ledger)
    first = sent(ledger, wish)
    ledger.created(first, machine(first, "1"))
    hand.sleep(3600)
    ledger.end("vast", "1", "never ready")
    second = sent(ledger, wish)
    ledger.created(second, machine(second, "2"))
    hand.sleep(3600)
    assert ledger.cost("night") == 4
    assert ledger.instance_cost("vast", "2") == 2
    assert ledger.costs() == {"night": Decimal(4)}


def test_an_order_that_nobody_knows_about_is_reserved_at_its_cap(ledger: Ledger, hand: HandClock):
    ledger.add_run(Run("night", limits=Limits(usd=Decimal(10))))
    tag = sent(ledger, ledger.wish("night", "deploy"), most="6")
    hand.sleep(1800)
    assert (ledger.reserved("night"), ledger.left("night")) == (3, 7)
    ledger.absent(tag, "not listed")
    assert (ledger.reserved("night"), ledger.left("night")) == (0, 10)


def test_a_run_without_a_budget_has_no_rest(ledger: Ledger):
    wished(ledger)
    assert ledger.left("night") is None


@given(st.decimals(0, 1000, places=8), st.integers(0, 10**12))
def test_money_is_rounded_up_and_never_lost(price: Decimal, microseconds: int):
    assert 0 <= usd(micro(price)) - price < Decimal("0.000001")
    time = timedelta(microseconds=microseconds)
    exact = Decimal(micro(price)) * microseconds / 3_600_000_000
    assert 0 <= over(micro(price), time) - exact < 1
    assert over(micro(price), -time) == 0
