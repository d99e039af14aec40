"""`resume` ends no machine that may hold what nobody else has, also when it does not stand; a volume is a place."""

from __future__ import annotations

from typing import Any

import pytest

from fleet.deploy.ending import terminate
from fleet.ledger.values import ENDED
from fleet.providers.values import State
from fleet.resume.resume import resume
from profiles.errors import Refused
from tests.fleet.launch.model_world import Machine
from tests.fleet.resume.night import Night


def behind(night: Night) -> Machine:
    night.run()
    machine = night.train(minutes=60)
    night.work.saves = False
    night.wait(120)
    return machine


@pytest.mark.parametrize("state", [State.PENDING, State.STARTING, State.RUNNING, State.INTERRUPTED])
@pytest.mark.parametrize("unattended", [False, True])
def test_one_that_was_started_again_and_did_not_come_up(night: Night, state: State, unattended: bool):
    machine = behind(night)
    night.dies(machine, State.STOPPED)
    stood = night.work.stops[machine.tag]
    resume(night.comeback(same=True), "night")
    machine.lost, night.work.stops[machine.tag] = state, stood  # it says nothing new
    night.clock.sleep(50 * 60)
    night.reboot()
    with pytest.raises(Refused, match="only its disk holds"):
        resume(night.comeback(unattended=unattended), "night")
    assert machine.ended is None and night.machines() == [machine]
    assert resume(night.comeback(force=True), "night").deployed is not None and machine.ended is not None


def test_one_that_its_provider_calls_failed(night: Night):
    machine = behind(night)
    night.dies(machine, State.FAILED)
    with pytest.raises(Refused, match="is there, and may hold what only its disk holds"):
        resume(night.comeback(unattended=True), "night")
    assert machine.ended is None and night.machines() == [machine]


def test_one_that_stands_and_whose_output_is_empty(night: Night):
    machine = behind(night)
    night.dies(machine, State.STOPPED)
    night.places["vast"].silent = True
    with pytest.raises(Refused, match="what is on its disk is not known"):
        resume(night.comeback(), "night")
    assert machine.ended is None


def test_a_run_that_is_terminated_while_it_boots_is_not_rented_for_again(night: Night):
    night.run()
    night.dies(night.train(), None)
    night.ledger.set_state("night", ENDED, "terminated by the user")
    back, rented = night.comeback(), len(night.machines())

    def said(words: str) -> None:
        assert len(night.machines()) <= rented + 1, "one more was rented"
        if "waiting for the first step" in words:
            terminate(night.ledger, ["night"], dict(night.places), night.clock)
            night.places["vast"].silent = True  # what is gone says nothing

    back.say = said
    with pytest.raises(Refused, match="is ended by now"):
        resume(back, "night")
    assert night.live() == [] and len(night.machines()) == rented + 1 and night.ledger.run("night").state == ENDED


class TestOnAVolume:
    """A run without a remote whose folder is on a volume goes on from there."""

    def lies(self, night: Night, **more: Any) -> Machine:
        night.run(remote="")
        plan = night.ledger.run("night").plan
        volume = {"provider": "vast", "id": "v1", "name": "ckpt", "gb": 100, "region": "US", **more}
        box = {**plan["container"], "volume": "v1"}
        night.ledger.change_run("night", plan={**plan, "container": box, "volume": volume})
        return night.train(minutes=60)

    @pytest.mark.parametrize("state", [None, State.STOPPED, State.FAILED])
    @pytest.mark.parametrize("unattended", [False, True])
    def test_it_goes_on_from_there_unasked(self, night: Night, state: State | None, unattended: bool):
        machine = self.lies(night)
        night.dies(machine, state)
        back, asked = night.comeback(unattended=unattended), []
        back.agree = asked.append
        assert resume(back, "night").deployed is not None
        assert machine.ended is not None and len(night.live()) == 1
        assert "to go on from what is on volume ckpt (v1)" in asked[0]

    def test_one_without_a_volume_has_nothing_to_go_on_from(self, night: Night):
        night.run(remote="")
        night.dies(night.train(minutes=60), None)
        with pytest.raises(Refused, match="nothing to go on from"):
            resume(night.comeback(), "night")
