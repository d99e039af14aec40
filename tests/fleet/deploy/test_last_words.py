"""`status` of a machine that is not there any more: what its run said last, kept when it was heard, and what helps."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from fleet.deploy.last_words import OVER, ending
from fleet.deploy.status import Row, status
from fleet.ledger.ledger import Ledger
from fleet.ledger.opening import open_ledger
from fleet.ledger.tags import fresh
from fleet.ledger.values import Limits, Run
from fleet.life.signs import Signs
from fleet.providers.values import Instance, State
from tests.fleet.deploy.shelf import Stall, Tick, an_offer

STEP = '{"event": "step", "step": 200, "loss": 2.5, "time": 1790000000}'
DONE = [STEP, '{"event": "stop", "reason": "done"}']
LIMITED = [STEP, '{"event": "stop", "reason": "the time limit"}']
BROKEN = [STEP, "keeper: the run ended with 3"]


@pytest.fixture
def vast(ledger: Ledger) -> Stall:
    """A provider with the one machine of `night`, which may take two hours."""
    provider = Stall(output=[STEP])
    ledger.add_run(Run("night", limits=Limits(hours=2.0), remote="file:///backup"))
    wish, tag, offer = ledger.wish("night", "deploy"), fresh(ledger.id, "night"), an_offer()
    ledger.intend(wish, tag, "vast", offer, Decimal(16), Decimal(20), "digest")
    ledger.sent(tag)
    made = Instance("vast", "m1", tag, State.RUNNING)
    provider.machines["m1"] = made
    ledger.created(tag, made)
    ledger.close(wish, "m1", met=True)
    return provider


def seen(ledger: Ledger, vast: Stall, clock: Tick, minutes: float = 30) -> Row:
    """The one row of `status`, so much later."""
    clock.sleep(60 * minutes)
    [row] = status(ledger, {"vast": vast}, clock).rows
    return row


def vanishes(ledger: Ledger, vast: Stall, clock: Tick, minutes: float = 30) -> Row:
    """The same once its machine is not listed any more."""
    vast.machines.clear()
    vast.output = []
    return seen(ledger, vast, clock, minutes)


@pytest.mark.parametrize(
    ("said", "state", "words"),
    [
        (DONE, "finished", "not listed; it said: done, step 200"),
        (LIMITED, "at its limit", "not listed; it said: the time limit, step 200"),
        (BROKEN, "ended", "not listed; it said: ended with 3, step 200"),
    ],
)
def test_one_that_said_how_it_ended_is_shown_so_when_its_machine_is_gone(
    ledger: Ledger, vast: Stall, clock: Tick, said: list[str], state: str, words: str
):
    vast.output = said
    assert seen(ledger, vast, clock).state == "running"
    row = vanishes(ledger, vast, clock)
    assert (row.state, row.words, row.next_step) == (state, words, "./inv reconcile")
    assert row.to_json()["next"] == "./inv reconcile"


def test_it_is_written_down_once_and_again_when_it_says_something_else(ledger: Ledger, vast: Stall, clock: Tick):
    for output in ([STEP], DONE, DONE, BROKEN):
        vast.output = output
        seen(ledger, vast, clock)
    told = [event.words for event in ledger.events("night") if event.kind == OVER]
    assert told == ["finished: done, step 200", "ended with 3, step 200"]


def test_one_whose_hours_were_over_when_it_went_is_shown_so(ledger: Ledger, vast: Stall, clock: Tick):
    seen(ledger, vast, clock)
    row = vanishes(ledger, vast, clock, 95)
    assert (row.state, row.words) == ("not listed", "its 2 h were over when it was missed")


def test_of_one_that_went_for_no_known_reason_nothing_is_made_up(ledger: Ledger, vast: Stall, clock: Tick):
    vast.output = []
    seen(ledger, vast, clock)
    row = vanishes(ledger, vast, clock)
    assert row.state == "not listed" and row.words.startswith("nobody knows why; last seen 11-21 12:30")
    assert row.next_step == "./inv reconcile"


def test_one_that_was_started_again_after_its_end_is_not_shown_by_that(ledger: Ledger, vast: Stall, clock: Tick):
    vast.output = DONE
    seen(ledger, vast, clock)
    ledger.tell("night", "started", "started again: it holds what was not sent", "m1")
    seen(ledger, vast, clock)  # its old lines are still there
    assert vanishes(ledger, vast, clock).state == "not listed"


def test_an_order_without_an_answer_is_for_reconcile(ledger: Ledger, clock: Tick):
    ledger.add_run(Run("new"))
    tag = fresh(ledger.id, "new")
    ledger.intend(ledger.wish("new", "deploy"), tag, "vast", an_offer(), Decimal(16), Decimal(20), "digest")
    ledger.sent(tag)
    [row] = status(ledger, {}, clock).rows
    assert (row.state, row.next_step) == ("no machine", "./inv reconcile")


def test_of_one_that_was_heard_of_the_last_of_it_is_shown(ledger: Ledger, vast: Stall, clock: Tick):
    ledger.tell("night", "training", "step 1", "m1")
    clock.sleep(600)
    ledger.tell("night", "heard", "step 120, saved step 100", "m1")
    row = vanishes(ledger, vast, clock)
    assert (row.state, row.words) == ("not listed", "last heard of at step 120, saved step 100, 11-21 12:10")


@pytest.mark.parametrize(
    ("said", "minutes", "state", "step"),
    [
        (DONE, 30, "finished", "./inv watch night"),
        (LIMITED, 30, "at its limit", "./inv resume night --hours MORE"),
        (BROKEN, 30, "ended", "./inv resume night"),
        ([STEP], 30, "no machine", "./inv resume night"),
        ([STEP], 95, "no machine", "./inv resume night --hours MORE"),
    ],
)
def test_once_it_is_proven_gone_the_run_still_tells_how_and_what_helps(
    ledger: Ledger, vast: Stall, clock: Tick, said: list[str], minutes: float, state: str, step: str
):
    vast.output = said
    seen(ledger, vast, clock)
    vanishes(ledger, vast, clock, minutes)
    ledger.end("vast", "m1", "not listed any more")
    [row] = status(ledger, {"vast": vast}, clock).rows
    assert (row.state, row.next_step) == (state, step)


def test_a_run_that_never_had_one_and_one_that_is_being_rented(ledger: Ledger, clock: Tick, tmp_path: Path):
    ledger.add_run(Run("new"))
    [row] = status(ledger, {}, clock).rows
    assert (row.state, row.next_step) == ("no machine", "./inv terminate new")
    with open_ledger(tmp_path, clock) as other, other.hold("new"):
        [row] = status(ledger, {}, clock).rows
        assert row.words.endswith("is renting for it") and row.next_step == ""


@pytest.mark.parametrize(
    ("signs", "words"),
    [
        (Signs(step=3), ""),
        (Signs(step=3, stop="done"), "finished: done"),
        (Signs(step=3, stop="done", exited=0), "finished: done"),
        (Signs(exited=0), "finished: the run ended with 0"),
        (Signs(stop="the dollar limit", exited=75), "at its limit: the dollar limit"),
        (Signs(stop="a signal", exited=75), "ended: a signal"),
        (Signs(exited=75), "ended: stopped from outside"),
        (Signs(stop="done", exited=9), "ended with 9 after `done`"),
    ],
)
def test_an_end_in_words(signs: Signs, words: str):
    assert ending(signs) == words
