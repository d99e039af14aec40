"""What changes often is told in the place of what it was, and the newest moment is known; the price a machine had."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

from fleet.ledger.ledger import Ledger
from fleet.ledger.values import Run
from fleet.providers.values import State
from tests.fleet.ledger.conftest import HandClock
from tests.fleet.ledger.ledger_rows import machine, sent, wished

HOUR = timedelta(hours=1)


def story(ledger: Ledger) -> list[tuple[str, str]]:
    return [(one.kind, one.words) for one in ledger.events("night") if one.kind in ("heard", "lost")]


def test_only_the_newest_of_an_hour_stays(ledger: Ledger, hand: HandClock):
    ledger.add_run(Run("night"))
    for number in range(4):
        ledger.retell("night", "heard", f"step {number}", "m1", HOUR)
        hand.sleep(600)
    assert story(ledger) == [("heard", "step 3")]
    hand.sleep(7200)
    ledger.retell("night", "heard", "step 9", "m1", HOUR)
    assert story(ledger) == [("heard", "step 3"), ("heard", "step 9")]


def test_another_machine_or_something_between_is_never_written_over(ledger: Ledger):
    ledger.add_run(Run("night"))
    ledger.retell("night", "heard", "step 1", "m1", HOUR)
    ledger.retell("night", "heard", "step 2", "m2", HOUR)
    ledger.tell("night", "lost", "gone", "m2")
    ledger.retell("night", "heard", "step 3", "m2", HOUR)
    assert story(ledger) == [("heard", "step 1"), ("heard", "step 2"), ("lost", "gone"), ("heard", "step 3")]


def test_the_newest_moment_is_the_last_thing_that_was_written_down(ledger: Ledger, hand: HandClock):
    assert ledger.newest_moment() is None
    ledger.add_run(Run("night"))
    assert ledger.newest_moment() == hand.time
    hand.sleep(60)
    ledger.saw("vast", [], hand.time, complete=True)
    assert ledger.newest_moment() == hand.time


def test_the_dearest_price_is_one_that_was_told_and_not_the_cap_of_the_order(ledger: Ledger, hand: HandClock):
    assert ledger.dearest("vast", "1") is None
    tag = sent(ledger, wished(ledger), most="5")
    ledger.created(tag, machine(tag, usd_hour=None))
    assert ledger.dearest("vast", "1") == Decimal(5)
    for price, state in (("2", State.RUNNING), ("0", State.STOPPED)):
        hand.sleep(600)
        ledger.saw("vast", [machine(tag, usd_hour=price, state=state)], hand.time, complete=True)
    assert ledger.dearest("vast", "1") == Decimal(2)
