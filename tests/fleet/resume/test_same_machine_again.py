"""A machine is started again only where that saves its disk: before its own deadline, at its real price, by the limits
as they are typed. And whatever is rented next, the bytes of its image are paid from the same budget."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from fleet.launch.deadline import DEADLINE, deadline_of
from fleet.launch.outcomes import NoMachine
from fleet.ledger.values import OPEN, Run
from fleet.providers.outcomes import Because
from fleet.providers.values import State
from fleet.resume.policy import Policy
from fleet.resume.resume import Comeback, resume
from profiles.errors import CheckFailed, Refused
from tests.fleet.launch.model_world import Machine
from tests.fleet.resume.night import Night, Place

DISK = Decimal("0.05")  # USD per hour of a machine that stands


def asks(night: Night, **limits: Any) -> Comeback:
    """`resume --same`, with limits that are typed."""

    def asked(run: Run) -> Run:
        return replace(run, limits=replace(run.limits, **limits), policy="same")

    back = night.comeback(same=True)
    back.asked = asked
    return back


def stands(night: Night, stood: float = 0.0, **limits: Any) -> Machine:
    """A machine that stopped with much that only its disk holds, and stood for a while, at its disk's price."""
    night.limits = replace(night.limits, **limits)
    night.run()
    machine = night.train(minutes=60)
    night.work.saves = False
    night.wait(120)
    night.dies(machine, State.INTERRUPTED)
    machine.price = DISK
    night.clock.sleep(stood * 3600)
    return machine


def runs_for(night: Night, monkeypatch: pytest.MonkeyPatch, usd_hour: str) -> list[str]:
    """A started machine costs so much again; what was stopped after."""
    stopped: list[str] = []
    real = Place.start

    def start(self: Place, id: str) -> None:
        real(self, id)
        next(one for one in self.world.machines if one.id == id).price = Decimal(usd_hour)

    def stop(self: Place, id: str) -> None:
        stopped.append(id)
        next(one for one in self.world.machines if one.id == id).lost = State.STOPPED

    monkeypatch.setattr(Place, "start", start)
    monkeypatch.setattr(Place, "stop", stop)
    return stopped


class TestItsOwnDeadline:
    @pytest.mark.parametrize(("stood", "when"), [(3.0, "at once"), (1.7, "in 1[0-9] minutes")])
    def test_a_machine_whose_keeper_would_end_it_is_not_started(self, night: Night, stood: float, when: str):
        machine = stands(night, stood, hours=5.0)
        with pytest.raises(Refused, match=f"would end itself {when}, and its disk with it") as told:
            resume(asks(night, hours=400.0, usd=Decimal(900)), "night")
        assert night.places["vast"].started == [] and machine.ended is None and "started" not in night.kinds()
        assert "vastai copy C.m1:/workspace/ local:night" in told.value.next_step
        assert "--force" in told.value.next_step

    def test_one_with_time_left_is_and_the_question_says_until_when(self, night: Night):
        stands(night, 1.0, hours=5.0)
        back, asked = asks(night), []
        back.agree = asked.append
        assert "is started again" in resume(back, "night").words
        end = deadline_of(night.ledger, night.ledger.run("night"), night.ledger.live("night")[0])
        assert end is not None and f"until {end:%Y-%m-%d %H:%M} UTC at the latest" in asked[0]

    def test_it_is_that_of_its_own_order_and_not_of_the_newest_plan(self, night: Night):
        machine = stands(night, 3.0, hours=5.0)
        kept = night.ledger.run("night").plan
        later = str(int((night.clock.time + timedelta(hours=30)).timestamp()))
        env = {**kept["container"]["env"], "STOKER_DEADLINE": later}
        night.ledger.change_run("night", plan={**kept, "container": {**kept["container"], "env": env}})
        with pytest.raises(Refused, match="would end itself at once"):
            resume(asks(night, hours=400.0), "night")
        assert machine.ended is None
        night.reboot()
        known = night.ledger.live("night")[0]
        found = deadline_of(night.ledger, night.ledger.run("night"), known)
        assert found is not None and found < night.clock.time
        stranger = replace(known, instance=replace(known.instance, tag="stk-else-night-12345678"))
        told = deadline_of(night.ledger, night.ledger.run("night"), stranger)
        assert told == datetime.fromtimestamp(int(later), UTC)

    def test_every_order_tells_its_own_before_it_is_sent(self, night: Night):
        night.run()
        for place in night.places.values():
            place.world.refuses = Because.CAPACITY
        with pytest.raises(NoMachine):
            resume(night.comeback(from_start=True), "night")
        orders = [one.tag for one in night.ledger.attempts("night")]
        told = [one.words.partition(":")[0] for one in night.ledger.events("night") if one.kind == DEADLINE]
        assert told == orders and len(orders) > 1


class TestItsPrice:
    def test_the_question_names_what_it_costs_when_it_runs(self, night: Night):
        machine = stands(night, 1.0)
        back, asked = asks(night), []
        back.agree = asked.append
        resume(back, "night")
        assert night.ledger.instance("vast", machine.id).usd_hour == DISK  # as it was listed
        assert asked[0].startswith("start vast m1 again for 2.01 USD/h")

    @pytest.mark.parametrize("policy", [False, True])
    def test_above_the_limit_it_is_not_started(self, night: Night, policy: bool):
        stands(night, 1.0)
        back = asks(night) if policy else asks(night, usd_hour=Decimal("1.50"))
        if policy:
            back.terms = replace(back.terms, policy=Policy(usd_hour=Decimal("1.50")))
        with pytest.raises(Refused, match=r"costs 2\.01 USD/h when it runs, above the limit of 1\.50") as told:
            resume(back, "night")
        assert night.places["vast"].started == [] and "--same --max-price" in told.value.next_step

    def test_a_budget_buys_hours_at_that_price(self, night: Night):
        machine = stands(night, 1.0)
        spent = night.ledger.cost("night")
        with pytest.raises(Refused, match="for 2 minutes more"):
            resume(asks(night, usd=spent + Decimal("0.07")), "night")
        assert night.places["vast"].started == [] and machine.ended is None

    def test_one_that_turns_out_dearer_is_stopped_again(self, night: Night, monkeypatch: pytest.MonkeyPatch):
        machine = stands(night, 1.0)
        stopped = runs_for(night, monkeypatch, "3.40")
        with pytest.raises(CheckFailed, match=r"costs 3\.40 USD/h, above 3\.0.*stopped again, with its disk"):
            resume(asks(night), "night")
        assert stopped == ["m1"] and machine.ended is None and night.kinds().count("stopped") == 1

    def test_one_that_costs_what_it_did_runs(self, night: Night, monkeypatch: pytest.MonkeyPatch):
        stands(night, 1.0)
        assert runs_for(night, monkeypatch, "2.01") == []
        assert "running" in resume(asks(night), "night").words

    def test_one_that_can_not_be_stopped_is_said_loudly(self, night: Night, monkeypatch: pytest.MonkeyPatch):
        stands(night, 1.0)
        runs_for(night, monkeypatch, "3.40")
        monkeypatch.undo()

        def start(self: Place, id: str) -> None:
            machine = next(one for one in self.world.machines if one.id == id)
            machine.lost, machine.price = None, Decimal("3.40")

        monkeypatch.setattr(Place, "start", start)
        with pytest.raises(CheckFailed, match="was not stopped: no stop") as told:
            resume(asks(night), "night")
        assert told.value.next_step == "./inv stop night, at once"


class TestComingUp:
    """Only a machine that runs is up; one that is on its way after a while is told as such."""

    def states(self, monkeypatch: pytest.MonkeyPatch, state: State) -> None:
        def start(self: Place, id: str) -> None:
            next(one for one in self.world.machines if one.id == id).lost = state

        monkeypatch.setattr(Place, "start", start)

    def test_one_that_waits_for_a_gpu_is_said_to_wait(self, night: Night, monkeypatch: pytest.MonkeyPatch):
        stands(night, 1.0)
        self.states(monkeypatch, State.PENDING)
        before = night.clock.time
        assert "is started again on vast m1, pending" in resume(asks(night), "night").words
        assert night.clock.time - before >= timedelta(minutes=5)

    def test_one_that_fails_is_not_up_and_is_kept(self, night: Night, monkeypatch: pytest.MonkeyPatch):
        machine = stands(night, 1.0)
        self.states(monkeypatch, State.FAILED)
        with pytest.raises(CheckFailed, match=r"does not come up.*its disk is kept"):
            resume(asks(night), "night")
        assert machine.ended is None


class TestWhatWasTyped:
    def test_a_spent_budget_is_raised_with_the_same_command(self, night: Night):
        stands(night, 1.0)
        night.ledger.change_run("night", limits=replace(night.limits, usd=Decimal("6.10")))
        with pytest.raises(Refused) as told:
            resume(night.comeback(same=True), "night")
        assert "--same with a higher --budget" in told.value.next_step
        assert "is started again" in resume(asks(night, usd=Decimal(60)), "night").words
        run = night.ledger.run("night")
        assert (run.limits.usd, run.policy, run.state) == (Decimal(60), "same", OPEN)

    def test_it_is_kept_with_the_yes_and_not_before(self, night: Night):
        stands(night, 1.0)
        before, back = night.ledger.run("night"), asks(night, usd=Decimal(60))

        def no(words: str) -> None:
            raise Refused("not done", "")

        back.agree = no
        with pytest.raises(Refused, match="not done"):
            resume(back, "night")
        assert night.ledger.run("night") == before

    def test_another_command_cannot_reach_a_container_that_is_there(self, night: Night):
        stands(night, 1.0)
        before, back = night.ledger.run("night").plan, asks(night)
        back.asked = lambda run: replace(run, plan={**run.plan, "more": True})
        resume(back, "night")
        assert night.ledger.run("night").plan == before
        assert any("--steps and --set are not kept" in words for words in night.said)


class TestTraffic:
    GB, USD = 50.0, Decimal("0.04")  # the image, and a GB of it: 2.00 USD for every machine

    def run(self, night: Night, **traffic: str) -> None:
        """One that was deployed with its first machine's image set aside, and had that machine."""
        for place in night.places.values():
            place.shelf = [replace(one, down_price=float(self.USD)) for one in place.shelf]
        night.run()
        plan = night.ledger.run("night").plan
        aside = {"aside_usd": "2.50", "rest_usd": "0.50", "budget_usd": "100.00", **traffic}
        night.ledger.change_run(
            "night", plan={**plan, "needs": {**plan["needs"], "pulled_gb": self.GB}, "traffic": aside}
        )
        night.dies(night.train(), None)

    def dollars(self, night: Night) -> Decimal:
        return Decimal(night.ledger.run("night").plan["container"]["env"]["STOKER_DOLLARS"])

    def test_the_first_machine_s_is_set_aside_already_and_every_other_one_s_is_not(self, night: Night):
        self.run(night)
        assert self.dollars(night) == Decimal(100)
        for left in (98, 96):
            resume(night.comeback(), "night")
            assert self.dollars(night) == Decimal(left)
            night.dies(night.live()[0], None)
        assert night.ledger.run("night").limits.usd == Decimal(100)  # the whole run's stays what was typed

    def test_the_deadline_is_by_what_it_leaves(self, night: Night):
        self.run(night, budget_usd="9.00")
        back, spent = night.comeback(), night.ledger.cost("night")
        back.asked = lambda run: replace(run, limits=replace(run.limits, usd=Decimal("9.00"), hours=None))
        resume(back, "night")
        known = night.ledger.live("night")[0]
        end = deadline_of(night.ledger, night.ledger.run("night"), known)
        assert end is not None
        hours = (end - known.first).total_seconds() / 3600
        assert hours == pytest.approx(float((9 - 2 - spent) / Decimal("2.01")), abs=0.05)

    def test_a_budget_that_is_typed_anew_has_nothing_set_aside(self, night: Night):
        self.run(night)
        back = night.comeback()
        back.asked = lambda run: replace(run, limits=replace(run.limits, usd=Decimal(60)))
        resume(back, "night")
        assert self.dollars(night) == Decimal(60) - 2 - 2 - Decimal("0.5")

    def test_one_that_the_traffic_takes_is_refused_in_words(self, night: Night):
        self.run(night)
        back = night.comeback()
        back.asked = lambda run: replace(run, limits=replace(run.limits, usd=Decimal(5)))
        with pytest.raises(Refused, match=r"5\.00 USD: 2\.\d\d are spent, and 4\.50 go to traffic"):
            resume(back, "night")
        assert night.live() == []

    def test_a_place_without_traffic_fees_is_taken_instead(self, night: Night):
        self.run(night)
        place = night.places["runpod"]
        place.shelf = [replace(one, down_price=0.0) for one in place.shelf]
        back = night.comeback()
        back.asked = lambda run: replace(run, limits=replace(run.limits, usd=Decimal(6), usd_hour=None))
        done = resume(back, "night").deployed
        assert done is not None and done.instance.provider == "runpod"
