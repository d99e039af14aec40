"""`watch` ends no stopped machine whose disk holds what the remote lacks: it is kept and told, with the next step."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet.ledger.values import DONE, OPEN
from fleet.providers.values import State
from fleet.resume.resume import resume
from profiles.errors import OutsideFailed, WrongInput
from tests.fleet.launch.model_world import Machine
from tests.fleet.resume.night import GOAL, RATE, Night
from tests.fleet.watch.test_watching_runs import inline, watched


@pytest.fixture
def night(tmp_path: Path) -> Iterator[Night]:
    made = Night(tmp_path)
    yield made
    made.ledger.shut()


def behind(night: Night, minutes: float = 120) -> Machine:
    night.run()
    machine = night.train(minutes=60)
    night.work.saves = False
    night.wait(minutes)
    return machine


@pytest.mark.parametrize("state", [State.STOPPED, State.INTERRUPTED])
@pytest.mark.parametrize("resumes", [False, True])
def test_a_disk_that_is_ahead_is_kept_and_told_with_the_next_step(night: Night, state: State, resumes: bool):
    machine = behind(night)
    made = watched(night, 20, at={1: lambda: night.dies(machine, state)}, resumes=inline(night) if resumes else None)
    assert machine.ended is None and len(night.machines()) == 1 and night.ledger.run("night").state == OPEN
    assert "./inv resume night --same" in made.left["night"] and "--force" in made.left["night"]
    assert "heard" in night.kinds()


def test_a_disk_that_is_a_little_ahead_is_ended_as_before(night: Night):
    machine = behind(night, 10)
    watched(night, 20, at={1: lambda: night.dies(machine, State.STOPPED)})
    assert machine.ended is not None


def test_while_the_remote_does_not_answer_nothing_is_ended(night: Night):
    night.run()
    machine = night.train(minutes=60)
    night.work.fails = OutsideFailed("s3 does not answer")
    watched(night, 30, at={1: lambda: night.dies(machine, State.STOPPED)})
    assert machine.ended is None
    assert any("s3 does not answer" in words for words in night.said)
    night.work.fails = None
    watched(night, 10)
    assert machine.ended is not None


def test_of_a_remote_that_cannot_be_read_from_here_nothing_is_concluded(night: Night):
    night.run()
    machine = night.train(minutes=60)

    def lacks_a_key(run: object) -> int | None:
        raise WrongInput("s3 needs AWS_ACCESS_KEY_ID")

    night.dies(machine, State.STOPPED)
    made = night.watching()
    made.saved = lacks_a_key
    from fleet.watch.watch import act, once

    act(made, once(made, night.ledger.run("night")))
    assert machine.ended is None and "cannot be read here (s3 needs AWS_ACCESS_KEY_ID)" in made.left["night"]


@pytest.mark.parametrize("state", [State.STOPPED, State.INTERRUPTED])
def test_a_run_that_reached_its_end_and_was_stopped_before_it_had_sent_that_is_kept(night: Night, state: State):
    night.run()
    machine = night.train(minutes=GOAL / RATE - 5)
    night.work.saves = False  # the last five minutes are on their way
    night.wait(10)
    night.work.codes[machine.tag] = 75
    night.dies(machine, state)
    watched(night, 10)
    assert machine.ended is None and night.ledger.run("night").state == OPEN
    assert any(f"step {GOAL} was made there" in words and "--same" in words for words in night.said)


def test_once_it_trains_again_it_is_watched_and_brought_back_as_any_other(night: Night):
    machine = behind(night)
    happens = {1: lambda: night.dies(machine, State.STOPPED), 10: lambda: mended(night)}
    made = watched(night, 900, at=happens, resumes=inline(night))
    assert made.left == {} and night.ledger.run("night").state == DONE
    assert night.machines() == [machine] and max(night.work.saved) == GOAL


def mended(night: Night) -> None:
    resume(night.comeback(same=True), "night")
    night.work.saves = True  # it sends what it has
