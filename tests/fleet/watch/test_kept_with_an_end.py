"""A machine that is kept is told again and again, with what it costs, and no keep is without an end."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from fleet.ledger.values import ENDED, OPEN, Limits
from fleet.life.verdict import Life
from fleet.providers.values import State
from fleet.resume.resume import resume
from fleet.watch.watch import Watch, act, once
from tests.fleet.launch.model_world import Machine
from tests.fleet.resume.night import GOAL, RATE, Night


@pytest.fixture
def night(tmp_path: Path) -> Iterator[Night]:
    made = Night(tmp_path)
    yield made
    made.ledger.shut()


def stopped(night: Night, limits: Limits) -> Machine:
    night.limits = limits
    night.run()
    machine = night.train(minutes=60)
    night.work.saves = False
    night.wait(120)
    night.dies(machine, State.STOPPED)
    return machine


def looks(night: Night, watching: Watch, hours: float, every: float = 0.5) -> list[str]:
    """Looks every so many hours; what was told meanwhile of a kept machine."""
    before = len(night.said)
    for _ in range(round(hours / every)):
        run = night.ledger.run("night")
        if run.state != OPEN:
            break
        act(watching, once(watching, run))
        night.clock.sleep(every * 3600)
    return [words for words in night.said[before:] if "it is kept" in words]


def test_it_is_told_hourly_then_daily_with_what_was_spent(night: Night):
    machine = stopped(night, Limits(Decimal(10_000)))
    watching = night.watching()
    first = looks(night, watching, 12)
    assert 11 <= len(first) <= 13
    assert "USD so far" in first[0] and "USD/h now" in first[0] and "./inv resume night --same" in first[0]
    looks(night, watching, 14)
    assert 2 <= len(looks(night, watching, 72, 2)) <= 4
    assert machine.ended is None and night.kinds().count("kept") == 1


def test_a_run_without_limits_keeps_a_stopped_machine_for_a_week_and_says_so(night: Night):
    machine = stopped(night, Limits())
    told = looks(night, night.watching(), 10)
    assert "its run has no limit: it is ended on" in told[0]
    night.reboot()  # whoever watches next counts from the same day
    looks(night, night.watching(), 6 * 24, 4)
    assert machine.ended is None
    looks(night, night.watching(), 24, 4)
    assert machine.ended is not None and night.ledger.run("night").state == ENDED
    assert "no limit" in night.ledger.run("night").words


def test_one_that_bills_its_gpus_is_kept_for_a_day(night: Night):
    night.limits = Limits()
    night.run()
    machine = night.train(minutes=GOAL / RATE - 5)
    night.work.saves = False
    night.work.codes[machine.tag] = 3
    night.wait(10)
    watching = night.watching()
    looks(night, watching, 23)
    assert machine.ended is None and night.looks[-1].verdict.life is Life.FAILED
    looks(night, watching, 3)
    assert machine.ended is not None


def test_one_that_costs_nothing_is_kept_until_the_user_ends_it(night: Night):
    machine = stopped(night, Limits())
    machine.price = Decimal(0)
    told = looks(night, night.watching(), 9 * 24, 4)
    assert machine.ended is None and "it is ended on" not in told[-1]


def test_the_limits_of_a_run_end_a_keep_as_they_end_all_else(night: Night):
    machine = stopped(night, Limits(Decimal(100), None, 8.0))
    looks(night, night.watching(), 10)
    assert machine.ended is not None and "limit reached" in night.ledger.run("night").words


def test_what_trains_again_begins_to_count_anew(night: Night):
    machine = stopped(night, Limits())
    watching = night.watching()
    looks(night, watching, 5 * 24, 4)
    age = (night.clock.time - machine.created).total_seconds() / 60
    night.work.begun[machine.tag] = 360 - int(age * RATE)  # the model counts a machine's steps from its first minute
    resume(night.comeback(same=True), "night")
    night.wait(5)
    looks(night, watching, 1, 0.25)
    assert night.looks[-1].verdict.life is Life.TRAINING and not watching.left
    night.dies(machine, State.INTERRUPTED)
    looks(night, watching, 5 * 24, 4)
    assert machine.ended is None and night.kinds().count("kept") == 2 and "trains" not in watching.left
