"""`resume`: what is dead is replaced, once; what lives is left alone; what nobody knows is not concluded."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from fleet.launch.outcomes import NoMachine
from fleet.ledger.opening import open_ledger
from fleet.ledger.values import DONE, ENDED, OPEN
from fleet.offers.offer import INTERRUPTIBLE
from fleet.providers.values import Instance, State
from fleet.resume.losses import losses
from fleet.resume.policy import Policy, Where
from fleet.resume.resume import resume
from profiles.errors import CheckFailed, OutsideFailed, Refused, StoppedEarly, WrongInput
from tests.fleet.launch.model_world import Killed, bid
from tests.fleet.resume.night import EVERY, REMOTE, Night


def newest(night: Night) -> int:
    return max(night.work.saved)


@pytest.mark.parametrize("state", [None, State.INTERRUPTED, State.STOPPED, State.FAILED])
def test_a_dead_machine_is_ended_and_the_run_goes_on_from_its_newest_checkpoint(night: Night, state: State | None):
    night.run()
    first = night.train(minutes=90)
    night.dies(first, state)
    before = newest(night)
    done = resume(night.comeback(), "night")
    assert done.deployed is not None and done.step == before and before % EVERY == 0
    [machine] = night.live()
    assert machine is not first and night.work.begun[machine.tag] == before
    story = night.kinds()
    story = story[story.index("lost") :]
    assert story.index("lost") < story.index("checkpoint") < story.index("resumed") and story[-1] == "training"
    [loss] = losses(night.ledger, "night")
    assert (loss.provider, loss.gpu, loss.count) == ("vast", "h100-sxm", 1) and loss.steps == 1


def test_a_run_that_trains_is_left_alone(night: Night):
    night.run()
    machine = night.train()
    done = resume(night.comeback(), "night")
    assert done.deployed is None and "trains on vast m1" in done.words and "nothing to bring back" in done.words
    assert night.live() == [machine]


def test_with_force_a_machine_that_trains_is_replaced(night: Night):
    night.run()
    machine = night.train()
    done = resume(night.comeback(force=True), "night")
    assert done.deployed is not None and machine.ended is not None and len(night.live()) == 1


def test_a_boot_that_hangs_is_given_its_time_and_then_replaced(night: Night):
    night.run()
    first = night.train(minutes=0)
    first.stuck = True  # it never made a step that anybody heard of, as far as a new process knows
    night.work.reached.pop(first.tag)
    night.wait(20)
    assert "boots" in resume(night.comeback(), "night").words
    night.wait(30)
    done = resume(night.comeback(from_start=True), "night")
    assert done.deployed is not None and first.ended is not None


def test_a_machine_that_runs_and_makes_no_steps_is_replaced_only_when_asked(night: Night):
    night.run()
    machine = night.train()
    night.work.stops[machine.tag] = night.clock.time
    resume(night.comeback(), "night")
    night.clock.sleep(3600)
    # Its own word is an hour old by the time of its last line, which is what a newcomer goes by.
    line = night.places["vast"].logs(machine.id)
    assert list(line)
    found = resume(night.comeback(force=True), "night")
    assert found.deployed is not None and len(night.live()) == 1


def test_of_a_provider_that_is_down_nothing_is_concluded_and_nothing_is_rented(night: Night):
    night.run()
    machine = night.train()
    night.dies(machine, None)
    night.places["vast"].world.down = True
    with pytest.raises(OutsideFailed) as told:
        resume(night.comeback(), "night")
    assert "nothing is concluded" in told.value.what
    assert night.live() == [] and len(night.machines()) == 1
    night.places["vast"].world.down = False
    assert resume(night.comeback(), "night").deployed is not None


def test_one_list_without_the_machine_is_no_death(night: Night):
    night.run()
    machine = night.train()
    night.places["vast"].world.once.append("list.misses")
    assert resume(night.comeback(), "night").deployed is None
    assert night.live() == [machine]


def test_a_machine_whose_end_is_not_proven_has_no_other_beside_it(night: Night):
    night.run()
    machine = night.train()
    night.dies(machine, State.INTERRUPTED)
    night.places["vast"].world.faults["destroy.429"] = 1.0
    with pytest.raises(OutsideFailed) as told:
        resume(night.comeback(), "night")
    assert "MAY STILL BE BILLED" in told.value.what
    assert len(night.machines()) == 1


def test_a_store_that_does_not_answer_keeps_everything_as_it_is(night: Night):
    night.run()
    machine = night.train()
    night.dies(machine, State.STOPPED)
    night.work.fails = OutsideFailed("s3 does not answer")
    with pytest.raises(OutsideFailed):
        resume(night.comeback(), "night")
    assert machine.ended is None and len(night.machines()) == 1


def test_without_a_checkpoint_it_begins_anew_only_when_that_is_said(night: Night):
    night.run()
    night.work.saves = False
    machine = night.train()
    night.dies(machine, None)
    with pytest.raises(Refused) as told:
        resume(night.comeback(), "night")
    assert "--from-start" in told.value.next_step and len(night.machines()) == 1
    assert resume(night.comeback(from_start=True), "night").step is None
    assert len(night.live()) == 1


def test_the_disk_of_a_stopped_machine_is_not_thrown_away_while_it_is_all_there_is(night: Night):
    night.run(remote="")
    machine = night.train()
    night.dies(machine, State.STOPPED)
    with pytest.raises(Refused) as told:
        resume(night.comeback(), "night")
    assert "all there is of it" in told.value.what and machine.ended is None


def test_checkpoints_that_were_there_and_are_gone_are_told(night: Night):
    night.run()
    night.dies(night.train(minutes=90), None)
    resume(night.comeback(), "night")
    night.dies(night.live()[0], None)
    night.work.saves = False
    night.work.saved.clear()
    with pytest.raises(CheckFailed) as told:
        resume(night.comeback(), "night")
    assert REMOTE in told.value.what


def test_a_run_whose_last_checkpoint_is_saved_is_done_and_nothing_is_rented(night: Night):
    night.run()
    machine = night.train(minutes=600)
    night.dies(machine, None)
    done = resume(night.comeback(), "night")
    assert done.deployed is None and "is done" in done.words
    assert night.ledger.run("night").state == DONE and len(night.machines()) == 1
    assert "is done" in resume(night.comeback(), "night").words


def test_a_run_that_failed_by_itself_is_not_tried_elsewhere_by_itself(night: Night):
    night.run()
    machine = night.train()
    night.work.codes[machine.tag] = 1
    night.dies(machine, State.STOPPED)
    with pytest.raises(Refused) as told:
        resume(night.comeback(), "night")
    assert "failed by itself" in told.value.what and machine.ended is None


def test_an_ended_run_is_opened_again(night: Night):
    night.run()
    night.dies(night.train(), None)
    night.ledger.set_state("night", ENDED, "terminated by the user")
    assert resume(night.comeback(), "night").deployed is not None
    assert night.ledger.run("night").state == OPEN


def test_after_a_reboot_the_ledger_is_memory_enough(night: Night):
    night.run()
    night.dies(night.train(minutes=90), State.INTERRUPTED)
    night.reboot()
    done = resume(night.comeback(), "night")
    assert done.step == newest(night) - newest(night) % EVERY


def test_a_secret_that_is_not_set_any_more_is_told_before_anything_is_rented(night: Night):
    night.run()
    night.dies(night.train(), None)
    back = night.comeback()
    back.secrets = {}
    with pytest.raises(WrongInput, match="HF_TOKEN"):
        resume(back, "night")
    assert night.live() == []


class TestWhere:
    def test_the_same_means_the_same_provider_also_when_another_is_cheaper(self, night: Night):
        night.run()
        first = night.train()
        night.dies(first, None)
        night.places["runpod"].shelf = [replace(one, price=0.5) for one in night.places["runpod"].shelf]
        resume(night.comeback(policy=Policy(Where.SAME)), "night")
        assert night.places["vast"].world.live() == night.live()

    def test_any_takes_the_cheapest_anywhere(self, night: Night):
        night.run()
        night.dies(night.train(), None)
        night.places["runpod"].shelf = [replace(one, price=0.5) for one in night.places["runpod"].shelf]
        resume(night.comeback(), "night")
        assert night.places["runpod"].world.live() == night.live()

    def test_named_providers_alone_are_rented_from(self, night: Night):
        night.run()
        night.dies(night.train(), None)
        resume(night.comeback(where=("runpod",)), "night")
        assert night.places["runpod"].world.live() == night.live()

    def test_another_number_of_gpus_is_asked_for_and_its_own_choices_are_left_out(self, night: Night):
        night.run()
        night.dies(night.train(), None)
        pair = replace(night.places["vast"].shelf[0], count=2, price=1.0, id="pair", machine="host-pair")
        night.places["vast"].shelf.append(pair)
        done = resume(night.comeback(count=2), "night")
        assert done.deployed is not None
        [attempt] = [one for one in night.ledger.attempts("night") if one.state == "created"]
        assert attempt.offer is not None and attempt.offer.count == 2

    def test_a_price_ceiling_that_nothing_meets_names_the_constraint(self, night: Night):
        night.run()
        night.dies(night.train(), None)
        with pytest.raises(CheckFailed, match="price"):
            resume(night.comeback(policy=Policy(usd_hour=Decimal("0.5"))), "night")
        assert night.live() == []

    def test_spot_machines_until_they_were_lost_often_enough(self, night: Night):
        night.names = ("vast",)
        night.places.pop("runpod")
        night.places["vast"].shelf = [bid(9, 0.5), *night.places["vast"].shelf]
        night.run(policy="spot-then-on-demand")
        policy = Policy(Where.SPOT_THEN_ON_DEMAND)
        machine = night.train(policy=policy)
        for _ in range(3):
            assert machine.kind == INTERRUPTIBLE
            night.dies(machine, State.INTERRUPTED)
            resume(night.comeback(policy=policy), "night")
            [machine] = night.live()
            night.wait(30)
        assert machine.kind != INTERRUPTIBLE


class TestLimits:
    def test_a_spent_budget_rents_nothing_and_ends_what_is_left(self, night: Night):
        night.limits = replace(night.limits, usd=Decimal(3))
        night.run()
        machine = night.train(minutes=100)
        night.dies(machine, State.STOPPED)
        with pytest.raises(Refused, match="budget"):
            resume(night.comeback(), "night")
        assert night.live() == []
        night.ledger.change_run("night", limits=replace(night.limits, usd=Decimal(30)))
        assert resume(night.comeback(), "night").deployed is not None

    def test_the_next_machine_has_the_hours_that_are_left(self, night: Night):
        night.limits = replace(night.limits, hours=5.0, usd=None)
        night.run()
        night.dies(night.train(minutes=120), None)
        resume(night.comeback(), "night")
        box = night.ledger.run("night").plan["container"]
        left = float(box["env"]["STOKER_DEADLINE"]) - night.clock.time.timestamp()
        assert 2.8 * 3600 < left < 3 * 3600
        assert box["env"]["STOKER_PRICE"] != "1" and "hf_x" not in str(box)

    def test_the_dollars_that_are_left_bound_its_hours_too(self, night: Night):
        night.limits = replace(night.limits, hours=None, usd=Decimal(8))
        night.run()
        night.dies(night.train(minutes=120), None)
        resume(night.comeback(), "night")
        box = night.ledger.run("night").plan["container"]
        left = float(box["env"]["STOKER_DEADLINE"]) - night.clock.time.timestamp()
        assert left / 3600 * 2.0 < 4.1


class TestAgainAndAgain:
    def test_losses_without_progress_are_paused_for_longer_and_longer_and_given_up(self, night: Night):
        night.run()
        night.dies(night.train(minutes=90), State.INTERRUPTED)
        night.work.saves = False

        def dies_at_once(provider: object, instance: Instance) -> str:
            night.work.stops[instance.tag] = night.machine(instance).created
            night.machine(instance).lost = State.INTERRUPTED
            night.work.reached.pop(instance.tag, None)
            return ""

        back = night.comeback(policy=Policy(losses=3))
        back.ready = dies_at_once
        begun = len(night.machines())
        with pytest.raises(CheckFailed, match="3 machines in a row were lost before a new checkpoint"):
            resume(back, "night")
        assert len(night.machines()) == begun + 3 and night.live() == []
        pauses = [words for words in night.said if words.startswith("waiting") and "without" in words]
        assert pauses == [
            "waiting 15 s: 1 lost without a new checkpoint",
            "waiting 30 s: 2 lost without a new checkpoint",
        ]
        back.ready = night.comeback().ready
        assert resume(back, "night").deployed is not None  # a person who asks again has thought about it

    def test_no_capacity_anywhere_ends_with_the_table_of_what_was_tried(self, night: Night):
        night.run()
        night.dies(night.train(), None)
        for place in night.places.values():
            place.world.faults["create.capacity"] = 1.0
        with pytest.raises(NoMachine) as told:
            resume(night.comeback(), "night")
        assert {row.outcome for row in told.value.tried} >= {"capacity"} and len(told.value.tried) == 16

    def test_two_at_once_are_one_machine(self, night: Night):
        night.run()
        night.dies(night.train(), None)
        with open_ledger(night.folder, night.clock) as other, other.hold("night"), pytest.raises(Refused):
            resume(night.comeback(), "night")
        resume(night.comeback(), "night")
        with open_ledger(night.folder, night.clock) as other:
            assert resume(night.comeback(other), "night").deployed is None
        assert len(night.live()) == 1

    @pytest.mark.parametrize("place", ["before launch", "after launch", "after terminate"])
    def test_killed_at_any_moment_the_same_command_goes_on_with_one_machine(self, night: Night, place: str):
        night.run()
        night.dies(night.train(minutes=90), State.INTERRUPTED)
        night.places["vast"].world.die = place
        with pytest.raises(Killed):
            resume(night.comeback(), "night")
        night.reboot()
        resume(night.comeback(), "night")
        assert len(night.live()) == 1
        assert [one.id for one in night.ledger.live("night")] == [night.live()[0].id]

    def test_ctrl_c_tells_what_runs_on_and_the_same_command_goes_on(self, night: Night):
        night.run()
        night.dies(night.train(minutes=90), None)

        def pressed(*_: object) -> str:
            raise KeyboardInterrupt

        back = night.comeback()
        back.ready = pressed
        with pytest.raises(StoppedEarly) as told:
            resume(back, "night")
        assert "runs on and costs" in told.value.what
        assert resume(night.comeback(), "night").words.startswith("went on")
        assert len(night.live()) == 1
