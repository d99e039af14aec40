"""`report` and `status` know what was known before: the last step of a run, and what its machine cost while it ran."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from cli import fleet_watch
from fleet.deploy.last_words import remember
from fleet.deploy.status import status
from fleet.ledger.ledger import Ledger
from fleet.ledger.opening import open_ledger
from fleet.ledger.tags import fresh
from fleet.ledger.values import DONE, Run
from fleet.life.signs import Signs
from fleet.life.told import HEARD, words
from fleet.providers.values import Instance, State
from fleet.watch.report import report
from tests.fleet.deploy.shelf import Stall, Tick, an_offer


@pytest.fixture
def clock() -> Tick:
    return Tick()


@pytest.fixture
def vast(tmp_path: Path, clock: Tick) -> Stall:
    """A provider with the one machine of `night`, at 2 USD an hour."""
    provider = Stall()
    with open_ledger(tmp_path, clock) as ledger:
        ledger.add_run(Run("night"))
        wish, tag = ledger.wish("night", "deploy"), fresh(ledger.id, "night")
        ledger.intend(wish, tag, "vast", an_offer(), Decimal(2), Decimal(3), "digest")
        ledger.sent(tag)
        provider.machines["m1"] = Instance("vast", "m1", tag, State.RUNNING, usd_hour=Decimal(2))
        ledger.created(tag, provider.machines["m1"])
        ledger.close(wish, "m1", met=True)
        ledger.tell("night", "training", "step 1", "m1")
    return provider


def trained(vast: Stall, step: int, saved: int | None) -> None:
    vast.output = [f'{{"event": "step", "step": {step}, "loss": 2.5, "time": 1790000000}}']
    vast.output += [f'{{"event": "save", "step": {saved}}}'] if saved else []


def heard(ledger: Ledger) -> list[str]:
    return [one.words for one in ledger.events("night") if one.kind == HEARD]


def test_what_status_showed_is_known_after_its_machine_is_gone(tmp_path: Path, clock: Tick, vast: Stall):
    with open_ledger(tmp_path, clock) as ledger:
        for step, saved in ((120, 100), (160, 120)):
            trained(vast, step, saved)
            clock.sleep(60)
            status(ledger, {"vast": vast}, clock)
        assert heard(ledger) == ["step 160, saved step 120"]
        vast.machines.clear()
        clock.sleep(60)
        [row] = status(ledger, {"vast": vast}, clock).rows
        assert row.state == "not listed" and "last heard of at step 160, saved step 120" in row.words
        assert report(ledger, "night", clock.now()).saved == 120


def test_a_save_that_is_not_in_sight_any_more_stays_told_and_nothing_goes_backwards(
    tmp_path: Path, clock: Tick, vast: Stall
):
    with open_ledger(tmp_path, clock) as ledger:
        for step, saved in ((160, 120), (200, None), (201, None), (150, None), (201, None)):
            trained(vast, step, saved)
            clock.sleep(60)
            status(ledger, {"vast": vast}, clock)
        assert heard(ledger) == ["step 160, saved step 120", "step 201"]
        assert report(ledger, "night", clock.now()).saved == 120


def test_status_keeps_it_in_the_words_in_which_watch_reads_it(tmp_path: Path, clock: Tick, vast: Stall):
    signs = Signs(step=7, saved=5, seconds=0.5)
    with open_ledger(tmp_path, clock) as ledger:
        [one] = ledger.live()
        remember(ledger, one, signs)
        remember(ledger, one, Signs())
        assert heard(ledger) == [words(signs)]


@pytest.mark.parametrize(
    "why", ["step 400, its last one, is at file:///backup", "step 400, its last one (early stop), is at the remote"]
)
def test_the_last_step_of_a_run_that_is_done_is_its_newest(
    tmp_path: Path, clock: Tick, vast: Stall, why: str, capsys: pytest.CaptureFixture[str]
):
    with open_ledger(tmp_path, clock) as ledger:
        ledger.checkpoint("night", 227, "file:///backup", "")
        ledger.set_state("night", DONE, why)
        told = report(ledger, "night", clock.now())
    assert told.to_json()["saved_step"] == 400
    fleet_watch.printed(told)
    assert "step 400\n" in capsys.readouterr().out


def test_of_a_run_of_which_nothing_was_saved_nothing_is_said(tmp_path: Path, clock: Tick, vast: Stall):
    with open_ledger(tmp_path, clock) as ledger:
        ledger.tell("night", "heard", "step 30, 0.510 s a step", "m1")
        assert report(ledger, "night", clock.now()).saved is None


def test_a_machine_that_was_stopped_before_its_end_shows_what_it_cost_while_it_ran(
    tmp_path: Path, clock: Tick, vast: Stall
):
    with open_ledger(tmp_path, clock) as ledger:
        [one] = ledger.live()
        for state, price in ((State.RUNNING, 2), (State.STOPPED, 0)):
            clock.sleep(1800)
            seen = Instance("vast", "m1", one.tag, state, usd_hour=Decimal(price))
            ledger.saw("vast", [seen], clock.now(), complete=True)
        [stopped] = report(ledger, "night", clock.now()).machines
        assert stopped.usd_hour == 0  # it is there, and costs nothing now
        clock.sleep(1800)
        ledger.end("vast", "m1", "terminated by the user")
        [ended] = report(ledger, "night", clock.now()).machines
        assert ended.usd_hour == 2 and ended.usd > 0 and ended.to_json()["usd_hour"] == "2"
