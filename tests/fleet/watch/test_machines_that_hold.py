"""No machine is ended that may hold what nobody else has, whatever state its provider tells: it is kept, and told."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fleet.ledger.values import DONE, FAILED, OPEN
from fleet.life.verdict import Life
from fleet.providers.hyperbolic.client import Hyperbolic
from fleet.providers.local.client import Local
from fleet.providers.runpod.client import LACKS as RUNPOD
from fleet.providers.values import State
from fleet.providers.vast.client import Vast
from fleet.resume.resume import resume
from fleet.resume.saved import last_step
from tests.fleet.launch.model_world import Machine
from tests.fleet.resume.conftest import MEMORY
from tests.fleet.resume.night import GOAL, RATE, Night
from tests.fleet.watch.test_watching_runs import inline, lives, watched


@pytest.fixture
def night(tmp_path: Path) -> Iterator[Night]:
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else tmp_path) as folder:
        made = Night(Path(folder))
        yield made
        made.ledger.shut()


def behind(night: Night, minutes: float = 120) -> Machine:
    night.run()
    machine = night.train(minutes=60)
    night.work.saves = False
    night.wait(minutes)
    return machine


def planned(night: Night, **box: Any) -> None:
    plan = night.ledger.run("night").plan
    night.ledger.change_run("night", plan={**plan, "container": {**plan["container"], **box}})


def at_its_end(night: Night, code: int) -> Machine:
    """It made its last step, could not send it, and its script ended."""
    night.run()
    machine = night.train(minutes=GOAL / RATE - 5)
    night.work.saves = False
    night.work.codes[machine.tag] = code
    night.wait(10)
    return machine


class TestStartedAgain:
    """A machine that `--same` has started is no less the only place of its disk than one that stands."""

    def waits(self, night: Night, state: State = State.PENDING) -> Machine:
        machine = behind(night)
        night.dies(machine, State.STOPPED)
        stood = night.work.stops[machine.tag]
        resume(night.comeback(same=True), "night")
        machine.lost, night.work.stops[machine.tag] = state, stood  # it says nothing new
        night.reboot()
        return machine

    @pytest.mark.parametrize("state", [State.PENDING, State.STARTING, State.RUNNING, State.STOPPED])
    @pytest.mark.parametrize("resumes", [False, True])
    def test_one_that_does_not_come_up_is_kept_and_told(self, night: Night, state: State, resumes: bool):
        machine = self.waits(night, state)
        made = watched(night, 90, resumes=inline(night) if resumes else None)
        assert machine.ended is None and night.machines() == [machine]
        assert "it is kept" in made.left["night"] and any("USD so far" in words for words in night.said)

    def test_one_whose_container_fails_before_it_says_a_time_has_failed_and_is_kept(self, night: Night):
        machine = self.waits(night, State.RUNNING)
        night.places["vast"].silent = True
        night.work.codes[machine.tag] = 3
        watched(night, 90)
        assert lives(night) == [Life.FAILED] and machine.ended is None and night.ledger.run("night").state == OPEN


@pytest.mark.parametrize("resumes", [False, True])
def test_one_that_its_provider_calls_failed_is_asked_about_too(night: Night, resumes: bool):
    machine = behind(night)
    made = watched(
        night, 30, at={1: lambda: night.dies(machine, State.FAILED)}, resumes=inline(night) if resumes else None
    )
    assert machine.ended is None and night.machines() == [machine] and "it is kept" in made.left["night"]


def test_an_empty_output_tells_nothing_of_a_disk(night: Night):
    machine = behind(night)
    night.dies(machine, State.STOPPED)
    night.places["vast"].silent = True
    made = watched(night, 10)
    assert machine.ended is None and "what is on its disk is not known" in made.left["night"]


class TestOver:
    """A training that has ended is over when it is sent."""

    def test_a_running_machine_that_stopped_from_outside_before_it_had_sent_is_kept_until_it_has(self, night: Night):
        machine = at_its_end(night, 75)
        watched(night, 30)
        assert lives(night) == [Life.DONE] and machine.ended is None and night.ledger.run("night").state == OPEN
        night.work.saved.add(GOAL)
        watched(night, 15)
        assert machine.ended is not None and night.ledger.run("night").state == DONE

    @pytest.mark.parametrize("state", [None, State.STOPPED, State.FAILED])
    def test_fine_tuning_that_was_not_sent_is_kept_though_the_base_run_is_at_the_remote(
        self, night: Night, state: State | None
    ):
        machine = at_its_end(night, 3)
        night.work.saved.add(GOAL)
        planned(night, env={**night.ledger.run("night").plan["container"]["env"], "RUN_SFT": "1"})
        machine.lost = state
        watched(night, 30, finished=lambda run: last_step(run, night.stored(run.remote)))
        assert machine.ended is None and night.ledger.run("night").state == OPEN
        assert any("fine-tuning may be on the machine alone" in words for words in night.said)

    def test_without_fine_tuning_what_is_at_the_remote_is_all(self, night: Night):
        machine = at_its_end(night, 3)
        night.work.saved.add(GOAL)
        watched(night, 30)
        assert machine.ended is not None and night.ledger.run("night").state == FAILED

    def test_what_is_kept_is_not_idle(self, night: Night):
        night.limits = replace(night.limits, idle_minutes=30.0)
        machine = at_its_end(night, 3)
        watched(night, 180)
        assert lives(night) == [Life.FAILED] and machine.ended is None


class TestDisksThatHoldNothing:
    """Where a stop wipes the disk, or the run lies on a volume, ending the machine loses nothing."""

    def test_the_fact_is_each_provider_s(self):
        assert "stopped disk" in RUNPOD
        assert all("stopped disk" not in one.lacks for one in (Vast, Local, Hyperbolic))

    @pytest.mark.parametrize("state", [State.STOPPED, State.INTERRUPTED])
    def test_one_that_was_wiped_is_ended_and_the_run_goes_on(self, night: Night, state: State):
        night.places["vast"].lacks = RUNPOD
        machine = behind(night)
        night.dies(machine, state)
        assert resume(night.comeback(unattended=True), "night").step == max(night.work.saved)
        assert machine.ended is not None and len(night.live()) == 1

    def test_one_that_still_runs_there_is_kept(self, night: Night):
        night.places["vast"].lacks = RUNPOD
        machine = at_its_end(night, 3)
        watched(night, 30)
        assert machine.ended is None

    def test_what_a_volume_holds_is_not_on_the_machine(self, night: Night):
        machine = behind(night)
        planned(night, volume="v1")
        plan = night.ledger.run("night").plan
        night.ledger.change_run(
            "night", plan={**plan, "volume": {"provider": "vast", "id": "v1", "name": "v1", "gb": 9}}
        )
        watched(night, 20, at={1: lambda: night.dies(machine, State.STOPPED)})
        assert machine.ended is not None
