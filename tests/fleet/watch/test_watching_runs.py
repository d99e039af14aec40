"""`watch`: limits hold, what is done is ended when everything is sent, what is lost comes back, and nobody is asked too
often."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from fleet.ledger.opening import open_ledger
from fleet.ledger.values import DONE, ENDED, FAILED, OPEN
from fleet.life.verdict import Life
from fleet.providers.values import State
from fleet.resume.resume import resume
from fleet.resume.saved import last_step
from fleet.watch.beside import Beside
from fleet.watch.watch import Watch, watch
from profiles.errors import OutsideFailed, Refused, WrongInput
from tests.fleet.launch.model_world import Machine
from tests.fleet.resume.conftest import MEMORY
from tests.fleet.resume.night import GOAL, RATE, REMOTE, Night, shelf


class Enough(BaseException):
    """The watcher was stopped: Ctrl-C, or its end."""


@pytest.fixture
def night(tmp_path: Path) -> Iterator[Night]:
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else tmp_path) as folder:
        made = Night(Path(folder))
        yield made
        made.ledger.shut()


def watched(night: Night, minutes: float, *names: str, at: dict[float, Any] | None = None, **more: Any) -> Watch:
    """Watches for so long, or until there is nothing to watch. at: minutes -> what happens then."""
    begin, happens = night.clock.time, dict(sorted((at or {}).items()))
    made = night.watching(**more)
    inner = made.report

    def report(found: Any) -> None:
        inner(found)
        passed = (night.clock.time - begin).total_seconds() / 60
        for when in [when for when in happens if when <= passed]:
            happens.pop(when)()
        if passed > minutes:
            raise Enough

    made.report = report
    try:
        watch(made, names)
    except Enough:
        pass
    return made


def lives(night: Night) -> list[Life]:
    """What was seen, without repetitions."""
    seen = [found.verdict.life for found in night.looks]
    return [life for place, life in enumerate(seen) if not place or seen[place - 1] is not life]


def inline(night: Night) -> Beside:
    """Brings runs back in the watcher's own turn: the model's clock is one for all."""

    class Inline(Beside):
        def begin(self, run: str) -> None:
            self._one(run)

        def busy(self, run: str) -> bool:
            return False

    def back(run: str) -> None:
        resume(night.comeback(unattended=True), run, wait=False)

    return Inline(back, night.said.append, night.clock)


def test_a_run_is_watched_to_its_end_and_its_machine_ended_when_everything_is_sent(night: Night):
    night.run()
    machine = night.train(minutes=10)
    watched(night, 600)
    assert lives(night) == [Life.TRAINING, Life.DONE]
    assert night.ledger.run("night").state == DONE and night.live() == []
    assert max(night.work.saved) == GOAL and machine.ended is not None
    minutes = (machine.ended - machine.created).total_seconds() / 60
    assert minutes < GOAL / RATE + 5


def test_what_is_done_and_still_sends_is_waited_for(night: Night):
    night.run()
    machine = night.train(minutes=GOAL / RATE + 1)
    night.work.codes[machine.tag] = 0
    code = night.work.codes
    night.places["vast"].work.codes = Counting(code, machine.tag, 4)
    made = watched(night, 60)
    assert any("waiting until everything is sent" in words for words in night.said)
    assert night.ledger.run("night").state == DONE and not made.left


def test_a_script_that_never_says_its_end_is_not_waited_for_when_its_last_step_is_saved(night: Night):
    night.run()
    machine = night.train(minutes=GOAL / RATE + 1)
    night.places["vast"].work.codes = Counting({}, machine.tag, 10**6)
    watched(night, 60, finished=lambda run: last_step(run, night.stored(run.remote)))
    assert night.ledger.run("night").state == DONE and machine.ended is not None


class Counting(dict[str, int]):
    """The script's end is not in the output before it was read so often."""

    def __init__(self, inner: dict[str, int], tag: str, reads: int) -> None:
        super().__init__(inner)
        self.tag, self.reads = tag, reads

    def __contains__(self, tag: object) -> bool:
        self.reads -= 1
        return self.reads < 0 and super().__contains__(tag)


def test_the_budget_ends_the_machine_before_it_is_passed(night: Night):
    night.limits = replace(night.limits, usd=Decimal(5))
    night.run()
    night.train(minutes=1)
    watched(night, 600)
    run = night.ledger.run("night")
    assert run.state == ENDED and "limit reached" in run.words and night.live() == []
    assert Decimal("4.9") < night.bill() <= Decimal(5)


def test_a_budget_that_was_passed_while_nobody_watched_ends_it_at_the_first_look(night: Night):
    night.limits = replace(night.limits, usd=Decimal(5), hours=None)
    night.run()
    machine = night.train(minutes=1)
    watched(night, 5)
    night.clock.sleep(3 * 3600)
    night.reboot()
    back = night.clock.time
    watched(night, 60)
    assert night.ledger.run("night").state == ENDED
    assert machine.ended is not None and machine.ended - back < timedelta(minutes=2)


def test_hours_are_those_of_all_its_machines_together(night: Night):
    night.limits = replace(night.limits, hours=3.0)
    night.run()
    night.dies(night.train(minutes=100), None)
    resume(night.comeback(), "night")
    watched(night, 600)
    assert "hours" in night.ledger.run("night").words
    rented = sum(((one.ended or night.clock.time) - one.created).total_seconds() for one in night.machines())
    assert 2.9 * 3600 < rented < 3.02 * 3600


def test_idleness_ends_it_and_a_watcher_that_came_later_counts_from_the_last_step(night: Night):
    night.run()
    machine = night.train(minutes=30)
    night.work.stops[machine.tag] = stopped = night.clock.time
    watched(night, 600)
    assert night.ledger.run("night").state == ENDED and "idle" in night.ledger.run("night").words
    assert machine.ended is not None
    assert timedelta(minutes=29) < machine.ended - stopped < timedelta(minutes=34)


def test_output_that_cannot_be_read_is_no_idleness_and_no_stuck_boot(night: Night):
    night.run()
    machine = night.train(minutes=30)
    night.places["vast"].mute = True
    watched(night, 120)
    assert machine.ended is None and night.ledger.run("night").state == OPEN
    assert any(found.trouble for found in night.looks)
    assert Life.UNREADABLE in lives(night) or lives(night) == [Life.BOOTING, Life.UNREADABLE]


def test_gpus_at_work_are_not_idle(night: Night):
    night.run()
    machine = night.train(minutes=30)
    night.work.stops[machine.tag] = night.clock.time
    inner = night.places["vast"]._instance
    night.places["vast"].__class__ = type("Busy", (night.places["vast"].__class__,), {
        "__slots__": (), "_instance": lambda self, one: replace(inner(one), gpu_busy=0.9),
    })  # fmt: skip
    watched(night, 120)
    assert machine.ended is None


def test_a_price_that_rises_above_the_limit_ends_it(night: Night):
    night.run()
    machine = night.train(minutes=5)
    machine.price *= 2
    watched(night, 10)
    assert night.ledger.run("night").state == ENDED and night.live() == []


def test_a_provider_that_is_down_costs_nothing_but_its_own_answer(night: Night):
    night.run()
    machine = night.train(minutes=5)
    night.places["vast"].world.down = True
    watched(night, 120)
    assert lives(night) == [Life.UNREADABLE] and machine.ended is None
    night.places["vast"].world.down = False
    night.looks.clear()
    watched(night, 5)
    assert lives(night) == [Life.TRAINING]


@pytest.mark.parametrize("state", [None, State.INTERRUPTED, State.STOPPED, State.FAILED])
def test_a_lost_run_without_resume_is_told_and_nothing_of_it_bills_on(night: Night, state: State | None):
    night.run()
    machine = night.train(minutes=60)
    made = watched(night, 60, at={5: lambda: night.dies(machine, state)})
    assert list(made.left) == ["night"] and night.live() == []
    assert night.ledger.run("night").state == OPEN and "lost" in night.kinds()


@pytest.mark.parametrize("state", [None, State.INTERRUPTED, State.STOPPED, State.FAILED])
def test_with_resume_it_comes_back_and_reaches_its_end_within_its_budget(night: Night, state: State | None):
    night.run()
    first = night.train(minutes=5)
    second: list[Machine] = []

    def again() -> None:
        second.extend(night.live())
        night.dies(second[0], state)

    watched(night, 900, at={30: lambda: night.dies(first, state), 120: again}, resumes=inline(night))
    assert night.ledger.run("night").state == DONE, night.said
    assert len(night.machines()) == 3 and night.live() == []
    assert max(night.work.saved) == GOAL and night.bill() < 100
    assert abs(night.bill() - night.ledger.cost("night")) < Decimal("0.2")


def test_a_machine_that_never_comes_up_is_replaced(night: Night):
    night.run()
    machine = night.train(minutes=0)
    night.work.stops[machine.tag] = machine.created
    night.work.reached.clear()
    watched(night, 500, resumes=inline(night))
    assert Life.STUCK in lives(night) and night.ledger.run("night").state == DONE


def test_no_capacity_is_waited_out(night: Night):
    night.run()
    machine = night.train(minutes=60)
    for place in night.places.values():
        place.world.faults["create.capacity"] = 1.0

    def free() -> None:
        for place in night.places.values():
            place.world.faults.clear()

    happens = {1: lambda: night.dies(machine, None), 30: free}
    watched(night, 900, at=happens, resumes=inline(night))
    assert night.ledger.run("night").state == DONE
    assert any("not brought back yet" in words for words in night.said)


def test_what_is_given_up_is_left_and_told(night: Night):
    night.run()
    machine = night.train(minutes=60)

    def refused(run: str) -> None:
        raise Refused("no", "ask somebody")

    made = watched(night, 60, at={1: lambda: night.dies(machine, None)}, resumes=threads(night, refused))
    assert made.left == {"night": "no"} and night.live() == []


def threads(night: Night, act: Any) -> Beside:
    """As it is really done, waited for."""

    class Waited(Beside):
        def begin(self, run: str) -> None:
            super().begin(run)
            self.wait(30)

    return Waited(act, night.said.append, night.clock)


def test_a_run_that_ended_itself_before_anybody_heard_why_is_done_when_its_last_step_is_saved(night: Night):
    night.run()
    machine = night.train(minutes=GOAL / RATE + 5)
    night.dies(machine, None)
    watched(night, 30, resumes=inline(night), finished=lambda run: last_step(run, night.stored(run.remote)))
    assert night.ledger.run("night").state == DONE and len(night.machines()) == 1


def test_a_run_that_failed_by_itself_is_ended_and_not_brought_back(night: Night):
    night.run()
    machine = night.train(minutes=20)

    def fails() -> None:
        night.work.codes[machine.tag] = 2
        night.dies(machine, State.STOPPED)

    watched(night, 60, at={2: fails}, resumes=inline(night))
    assert night.ledger.run("night").state == FAILED and night.live() == [] and len(night.machines()) == 1


def test_a_machine_that_the_user_stopped_stays_stopped(night: Night):
    night.run()
    machine = night.train(minutes=20)
    machine.lost = State.STOPPED
    night.work.stops[machine.tag] = night.clock.time
    night.ledger.tell("night", "stopped", "stopped by the user", machine.id)
    watched(night, 20, resumes=inline(night))
    assert machine.ended is None and lives(night)[-1] is Life.PAUSED


def test_the_only_copy_is_not_thrown_away(night: Night):
    night.run(remote="")
    machine = night.train(minutes=20)
    made = watched(night, 20, at={1: lambda: night.dies(machine, State.STOPPED)}, resumes=inline(night))
    assert machine.ended is None and "alone" in made.left["night"]


def test_a_run_that_another_process_launches_for_is_left_to_it(night: Night):
    night.limits = replace(night.limits, usd=Decimal(5))
    night.run()
    machine = night.train(minutes=1)
    with open_ledger(night.folder, night.clock) as other, other.hold("night"):
        watched(night, 300)
    assert machine.ended is None
    watched(night, 5)
    assert machine.ended is not None


def test_a_machine_that_does_not_end_keeps_its_run_open_and_is_asked_again(night: Night):
    night.limits = replace(night.limits, usd=Decimal(5), hours=None)
    night.run()
    machine = night.train(minutes=149)
    night.places["vast"].world.faults["destroy.429"] = 1.0
    watched(night, 20)
    assert night.ledger.run("night").state == OPEN and machine.ended is None
    assert any("MAY STILL BE BILLED" in words for words in night.said)
    night.places["vast"].world.faults.clear()
    watched(night, 5)
    assert machine.ended is not None and night.ledger.run("night").state == ENDED


def test_an_unknown_run_is_told_with_the_nearest(night: Night):
    night.run()
    with pytest.raises(WrongInput) as told:
        watch(night.watching(), ["nihgt"])
    assert "night" in told.value.next_step


def test_ten_runs_stay_below_twenty_requests_a_minute_at_each_provider(night: Night):
    """Vast's output takes three requests (providers.md 2.8): the dearest of them is counted everywhere."""
    night.places["vast"].shelf = shelf("vast", 2.0, 12)
    for number in range(10):
        name = f"night-{number}"
        night.run(name, remote=f"{REMOTE}-{number}")
        for place in night.places.values():
            place.world.boot = 1.0
        resume(night.comeback(from_start=True, where=("vast",)), name)
    place = night.places["vast"]
    place.per_output = 3
    place.requests.clear()
    watched(night, 60)
    minutes = Counter(at.replace(second=0, microsecond=0) for at, _ in place.requests)
    assert len(minutes) >= 60 and max(minutes.values()) <= 20, minutes.most_common(3)
    assert worst(place.requests) <= 20


def worst(requests: list[tuple[datetime, str]]) -> int:
    """Most requests in any minute, wherever it begins."""
    times = sorted(at for at, _ in requests)
    return max(sum(begin <= at < begin + timedelta(minutes=1) for at in times) for begin in times)


def test_a_second_watcher_asks_for_no_list_of_its_own(night: Night):
    night.run()
    night.train(minutes=5)
    place = night.places["vast"]
    one, two = night.watching(), night.watching()
    from fleet.watch.watch import once

    run = night.ledger.run("night")
    once(one, run)
    before = [what for _, what in place.requests].count("list")
    once(two, run)
    assert [what for _, what in place.requests].count("list") == before


def test_the_store_and_the_providers_may_fail_while_it_is_brought_back(night: Night):
    night.run()
    machine = night.train(minutes=60)
    night.work.fails = OutsideFailed("s3 does not answer")

    def mended() -> None:
        night.work.fails = None

    happens = {1: lambda: night.dies(machine, State.INTERRUPTED), 20: mended}
    watched(night, 900, at=happens, resumes=inline(night))
    assert night.ledger.run("night").state == DONE


def test_a_run_that_trained_to_its_end_and_could_not_send_keeps_its_machine(night: Night):
    night.run()
    machine = night.train(minutes=10)
    night.work.saves = False  # the store's login has run out
    night.wait(GOAL / RATE)
    night.work.codes[machine.tag] = 3
    watched(night, 20)
    assert machine.ended is None and night.ledger.run("night").state == OPEN
    assert any("may be on the machine alone" in words for words in night.said)


def test_sending_the_last_checkpoint_is_no_idleness(night: Night):
    night.run()
    night.ledger.change_run("night", limits=replace(night.ledger.run("night").limits, idle_minutes=30.0))
    machine = night.train(minutes=10)
    night.work.saves = False  # it takes hours
    night.wait(GOAL / RATE)
    night.places["vast"].work.codes = Counting({}, machine.tag, 10**6)
    watched(night, 60)
    assert machine.ended is None and night.ledger.run("night").state == OPEN


def test_a_second_machine_that_comes_up_late_is_ended_and_the_runs_own_trains_on(night: Night):
    night.run()
    machine = night.train(minutes=10)
    late = replace(machine, id="m99", created=night.clock.time)
    night.places["vast"].world.machines.append(late)
    watched(night, 10)
    assert late.ended is not None and machine.ended is None
    assert lives(night) == [Life.TRAINING]
