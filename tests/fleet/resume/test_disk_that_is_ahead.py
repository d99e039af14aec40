"""That a remote is set does not mean that everything is there: a stopped machine's disk may hold a night's work."""

from __future__ import annotations

from datetime import timedelta

import pytest

from fleet.ledger.values import DONE, ENDED, OPEN
from fleet.life.verdict import Life
from fleet.providers.values import State
from fleet.resume.resume import resume
from fleet.wire.failed import ProviderFailed
from profiles.errors import CheckFailed, Refused
from tests.fleet.launch.model_world import Machine
from tests.fleet.resume.night import EVERY, GOAL, RATE, Night

STANDS = pytest.mark.parametrize("state", [State.STOPPED, State.INTERRUPTED])


def behind(night: Night, minutes: float, state: State = State.STOPPED) -> Machine:
    """A machine that stopped after the store had taken nothing for a while."""
    night.run()
    machine = night.train(minutes=60)
    night.work.saves = False
    night.wait(minutes)
    night.dies(machine, state)
    return machine


@STANDS
@pytest.mark.parametrize("unattended", [False, True])
def test_it_is_neither_ended_nor_left_for_another_unasked(night: Night, state: State, unattended: bool):
    machine = behind(night, 120, state)
    with pytest.raises(Refused) as told:
        resume(night.comeback(unattended=unattended), "night")
    newest = max(night.work.saved)
    assert f"step {newest} is the newest at the remote" in told.value.what
    assert (
        "--same" in told.value.next_step and f"--force ends it and goes on from step {newest}" in told.value.next_step
    )
    assert machine.ended is None and len(night.machines()) == 1


@STANDS
def test_less_than_half_an_hour_of_training_is_made_again_elsewhere(night: Night, state: State):
    machine = behind(night, 20, state)
    assert resume(night.comeback(unattended=True), "night").deployed is not None
    assert machine.ended is not None and len(night.live()) == 1


def test_a_machine_that_is_gone_has_no_disk(night: Night):
    night.run()
    machine = night.train(minutes=60)
    night.work.saves = False
    night.wait(120)
    night.dies(machine, None)
    assert resume(night.comeback(), "night").step == max(night.work.saved)


def test_the_user_s_word_ends_it_and_goes_on_from_what_is_there(night: Night):
    machine = behind(night, 120)
    done = resume(night.comeback(force=True), "night")
    assert done.step == max(night.work.saved) and machine.ended is not None and len(night.live()) == 1


@STANDS
def test_the_same_machine_is_started_again_and_sends(night: Night, state: State):
    machine = behind(night, 120, state)
    done = resume(night.comeback(same=True), "night")
    assert "is started again on vast m1" in done.words and night.places["vast"].started == ["m1"]
    night.work.saves = True
    night.wait(1)
    assert night.live() == [machine] == night.machines() and "started" in night.kinds()
    assert max(night.work.saved) >= 180 * RATE - EVERY


def test_a_run_that_the_user_had_ended_is_open_again_before_its_machine_starts(night: Night):
    behind(night, 120)
    night.ledger.set_state("night", ENDED, "")
    resume(night.comeback(same=True), "night")
    assert night.ledger.run("night").state == OPEN


def test_it_is_started_only_after_a_yes(night: Night):
    behind(night, 120)
    back, asked = night.comeback(same=True), []

    def no(words: str) -> None:
        asked.append(words)
        raise Refused("not done", "")

    back.agree = no
    with pytest.raises(Refused):
        resume(back, "night")
    assert night.places["vast"].started == [] and "start vast m1 again for 2.01 USD/h" in asked[0]
    assert "started" not in night.kinds()


def test_where_no_gpu_is_free_for_it_any_more_it_is_kept(night: Night):
    machine = behind(night, 120)
    night.places["vast"].full = True
    with pytest.raises(ProviderFailed, match="no GPU is free"):
        resume(night.comeback(same=True), "night")
    assert machine.ended is None and len(night.machines()) == 1


def test_one_that_waits_for_a_gpu_for_ever_is_told_and_kept(night: Night, monkeypatch: pytest.MonkeyPatch):
    machine = behind(night, 120)
    monkeypatch.setattr(type(night.places["vast"]), "start", lambda self, id: None)
    with pytest.raises(CheckFailed, match=r"does not come up.*its disk is kept"):
        resume(night.comeback(same=True), "night")
    assert machine.ended is None


def test_what_nobody_can_hear_counts_by_the_time_it_was_rented(night: Night):
    night.run()
    night.dies(night.train(minutes=60), None)
    night.work.saves = False
    resume(night.comeback(), "night")
    [second] = night.live()
    night.wait(120)
    night.dies(second, State.STOPPED)
    night.places["vast"].mute = True
    with pytest.raises(Refused, match="what is on its disk is not known"):
        resume(night.comeback(), "night")
    assert second.ended is None


def test_what_nobody_can_hear_is_not_believed_saved_because_the_store_once_took_something_of_it(night: Night):
    night.run()
    machine = night.train(minutes=60)
    night.dies(machine, State.STOPPED)
    night.places["vast"].mute = True
    with pytest.raises(Refused, match="what is on its disk is not known"):
        resume(night.comeback(), "night")
    assert machine.ended is None


def test_what_a_watcher_heard_is_known_to_who_comes_later(night: Night):
    from fleet.watch.watch import act, once

    night.run()
    machine = night.train(minutes=60)
    night.work.saves = False
    night.wait(120)
    watching = night.watching()
    act(watching, once(watching, night.ledger.run("night")))
    night.dies(machine, State.INTERRUPTED)
    night.places["vast"].mute = True
    night.reboot()
    with pytest.raises(Refused, match="step 360 was made there"):
        resume(night.comeback(), "night")
    assert machine.ended is None


class TestAfterTheStart:
    """A machine that stood for hours is not idle, stuck or ended because of what was said before."""

    def test_old_words_are_no_silence_and_the_run_comes_to_its_end(self, night: Night):
        from fleet.watch.watch import act, once

        machine = behind(night, 120)
        stopped = night.work.stops[machine.tag]
        night.clock.sleep(4 * 3600)
        resume(night.comeback(same=True), "night")
        night.work.stops[machine.tag] = stopped  # it boots: nothing new is said
        watching = night.watching()
        for _ in range(20):
            act(watching, once(watching, night.ledger.run("night")))
            night.clock.sleep(60)
        assert {found.verdict.life for found in night.looks} == {Life.PAUSED, Life.BOOTING}
        assert night.looks[-1].verdict.life is Life.BOOTING and machine.ended is None
        night.work.stops.pop(machine.tag)
        night.work.saves = True
        while night.ledger.run("night").state == OPEN:
            act(watching, once(watching, night.ledger.run("night")))
            night.clock.sleep(120)
        assert night.ledger.run("night").state == DONE and max(night.work.saved) == GOAL

    def test_a_machine_that_is_started_again_is_not_stopped_by_the_user_any_more(self, night: Night):
        machine = behind(night, 120)
        night.ledger.tell("night", "stopped", "stopped by the user", machine.id)
        resume(night.comeback(same=True), "night")
        machine.lost = State.INTERRUPTED
        night.clock.sleep(900)
        with pytest.raises(Refused, match="stands with what only its disk holds"):
            resume(night.comeback(), "night")

    def test_an_end_that_was_told_before_is_none(self):
        from fleet.life.heard import Heard
        from fleet.life.signs import read
        from tests.fleet.launch.model_world import BEGIN

        told = BEGIN.timestamp()
        lines = [f'{{"event": "stop", "reason": "done", "time": {told}}}', "keeper: the run ended with 75"]
        heard = Heard()
        heard.hear(read(lines), BEGIN)
        heard.started(BEGIN + timedelta(hours=1))
        assert (heard.signs.stop, heard.signs.exited) == ("", None)
        after = [*lines, f'{{"event": "stop", "reason": "done", "time": {told + 7200}}}']
        heard.hear(read(after, heard.signs), BEGIN + timedelta(hours=2))
        heard.started(BEGIN + timedelta(hours=1))
        assert (heard.signs.stop, heard.signs.exited) == ("done", None)
        heard.hear(read([*after, "keeper: the run ended with 0"], heard.signs), BEGIN + timedelta(hours=2))
        heard.started(BEGIN + timedelta(hours=1))
        assert heard.signs.exited == 0
