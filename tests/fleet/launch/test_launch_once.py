"""One wish, one machine: whatever the provider answers and wherever our process ends."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from fleet.launch.candidate import Candidate
from fleet.launch.outcomes import NoMachine, StillThere, Unfit, Unsettled
from fleet.ledger.values import ABSENT, CREATED, GONE, INTENDED, MET, SENT, UNMET, Run
from fleet.providers.outcomes import Because
from fleet.providers.values import Container, Instance, Order, State, Template
from profiles.errors import CheckFailed, OutsideFailed, Refused, WrongInput
from tests.fleet.launch.launch_steps import CAP, Scene
from tests.fleet.launch.model_world import MAKES, Killed, ModelProvider, World, bid, container, offer


def test_a_launch_gives_one_machine_that_is_in_the_ledger_and_closes_its_wish(scene: Scene):
    scene.run()
    instance = scene.launch()
    assert [machine.id for machine in scene.world.live()] == [instance.id]
    assert [known.id for known in scene.ledger.live("night")] == [instance.id]
    assert [wish.state for wish in scene.ledger.wishes()] == [MET]
    assert scene.provider.settled == [instance.id]
    assert instance.state is State.RUNNING


@pytest.mark.parametrize("fault", MAKES)
def test_a_lost_answer_is_looked_for_and_never_sent_again(scene: Scene, fault: str):
    scene.run()
    scene.world.once, scene.world.lag = [fault], 100.0
    instance = scene.launch()
    assert len(scene.world.creates) == len(scene.world.machines) == 1
    assert instance.id == scene.world.machines[0].id


def test_a_lost_order_is_sent_again_under_a_new_tag_only_after_clean_looks_over_a_window(scene: Scene):
    scene.run()
    scene.world.once = ["create.5xx_before_commit"]
    begin = scene.clock.time
    scene.launch()
    first, second = scene.world.creates
    assert first != second
    assert [attempt.state for attempt in scene.ledger.attempts()] == [ABSENT, CREATED]
    assert (scene.world.machines[0].created - begin).total_seconds() >= scene.patience.look
    assert scene.world.asked >= scene.patience.reads


def test_while_a_provider_does_not_tell_nothing_more_is_rented_and_the_wish_stays_open(scene: Scene):
    scene.run()
    scene.world.down = True
    with pytest.raises(Unsettled, match="does not tell"):
        scene.launch()
    assert len(scene.world.creates) == 1
    assert scene.ledger.open_wish("night")
    with pytest.raises(Unsettled):
        scene.launch()
    assert len(scene.world.creates) == 1
    scene.world.down = False
    scene.launch()
    assert len(scene.world.live()) == 1


@pytest.mark.parametrize("place", ["before launch", "after launch"])
def test_a_process_that_died_around_the_request_is_settled_by_the_next_one(scene: Scene, place: str):
    scene.run()
    scene.world.die, scene.world.lag = place, 60.0
    with pytest.raises(Killed):
        scene.launch()
    assert [attempt.state for attempt in scene.ledger.attempts()] == [SENT]
    scene.reopen()
    scene.launch()
    assert len(scene.world.machines) == 1
    assert len(scene.ledger.wishes()) == 1
    scene.agrees()


@pytest.mark.parametrize("after", [True, False])
@pytest.mark.parametrize("write", range(14))
def test_a_kill_around_any_write_costs_no_second_machine_and_forgets_none(scene: Scene, write: int, after: bool):
    scene.run()
    scene.world.once = ["create.capacity"]
    scene.ledger.writes_left, scene.ledger.after = write, after
    try:
        scene.launch()
    except Killed:
        scene.reopen()
        scene.launch() if scene.ledger.live() == [] or scene.ledger.open_wish("night") else None
    assert len(scene.world.machines) == 1
    scene.reopen()
    scene.reconcile()
    scene.agrees()
    assert len(scene.world.live()) == 1


def test_what_was_intended_and_never_sent_is_not_even_looked_for(scene: Scene):
    scene.run()
    scene.ledger.writes_left = 1  # the wish, then the intent
    with pytest.raises(Killed):
        scene.launch()
    assert [attempt.state for attempt in scene.ledger.attempts()] == [INTENDED]
    scene.reopen()
    scene.launch()
    assert [attempt.state for attempt in scene.ledger.attempts()] == [ABSENT, CREATED]
    assert len(scene.world.creates) == 1


def test_nothing_is_sent_when_the_intent_cannot_be_kept(scene: Scene):
    scene.run()
    pages = scene.ledger._connection.execute("PRAGMA page_count").fetchone()[0]
    scene.ledger._connection.execute(f"PRAGMA max_page_count = {pages}")  # the file system is full
    for size in (4000, 400, 40, 1):
        with pytest.raises(OutsideFailed, match="cannot be written"):
            for _ in range(2000):
                scene.ledger.tell("night", "filler", "x" * size)
    with pytest.raises(OutsideFailed, match="cannot be written"):
        scene.launch()
    assert scene.world.creates == []


def test_a_refusal_that_made_a_machine_all_the_same_ends_it(scene: Scene):
    scene.run()
    scene.world.once = ["create.refused_anyway"]
    scene.launch()
    first, second = scene.world.machines
    assert first.ended
    assert not second.ended
    assert [attempt.state for attempt in scene.ledger.attempts()] == [GONE, CREATED]


def test_two_machines_of_one_order_become_one(scene: Scene):
    scene.run()
    scene.world.once = ["create.double"]
    instance = scene.launch()
    assert [machine.id for machine in scene.world.live()] == [instance.id]
    assert len(scene.world.machines) == 2


def test_a_machine_that_shows_up_after_it_counted_as_not_made_is_ended(scene: Scene):
    scene.run()
    scene.world.once = ["create.late"]
    instance = scene.launch()
    scene.clock.sleep(3600)
    rows = scene.reconcile()
    assert scene.kinds(rows) == ["duplicate"]
    assert [machine.id for machine in scene.world.live()] == [instance.id]
    assert scene.kinds(scene.reconcile()) == []


def test_a_busy_provider_is_asked_again_after_the_time_it_names_with_a_new_tag(scene: Scene):
    scene.run()
    scene.world.once = ["create.429_before", "create.429_before"]
    scene.launch(offers=[offer()])
    assert len(set(scene.world.creates)) == 3


def test_phantom_offers_end_in_a_bounded_time_with_a_table(scene: Scene):
    scene.run()
    scene.world.faults = {"create.capacity": 1.0}
    with pytest.raises(NoMachine) as failure:
        scene.launch(offers=[offer(number) for number in range(40)])
    assert len(scene.world.creates) == scene.patience.attempts
    assert len(failure.value.tried) == 40
    assert "12 capacity" in failure.value.what
    assert [row[1] for row in failure.value.table()].count("skipped") == 28
    assert [wish.state for wish in scene.ledger.wishes()] == [UNMET]


def test_a_machine_that_never_gets_ready_is_ended_left_out_and_its_cost_told(scene: Scene):
    scene.run()
    instance = scene.launch(offers=[offer(1, machine="bad-1"), offer(2)])
    stuck = scene.world.machines[0]
    assert stuck.ended
    assert instance.id != stuck.id
    assert [bad.machine for bad in scene.ledger.bad_machines("vast")] == ["bad-1"]
    assert scene.ledger.cost("night") >= stuck.billed(scene.clock.time) > Decimal("0.5")
    scene.ledger.add_run(Run("other"))
    with pytest.raises(NoMachine, match="skipped"):
        scene.launch("other", offers=[offer(1, machine="bad-1")])


def test_running_without_a_shell_is_not_ready(scene: Scene):
    scene.run()
    scene.world.once = ["never_answers"]
    scene.launch()
    assert scene.world.machines[0].ended
    assert any("no shell yet" in line for line in scene.said)


def test_a_slow_pull_that_tells_its_progress_may_go_on_beyond_the_deadline(scene: Scene):
    scene.run()
    scene.world.boot = 4000.0
    words = iter(range(10_000))
    plain = scene.provider._instance

    class Telling(ModelProvider):
        def _instance(self, machine):
            return replace(plain(machine), words=f"{next(words)} MB pulled")

    scene.provider = Telling(scene.world)
    scene.patience = type(scene.patience)(pending=2500, starting=700)
    scene.launch()
    assert len(scene.world.machines) == 1


def test_a_price_above_the_cap_on_the_machine_itself_ends_it(scene: Scene):
    scene.run()
    scene.world.once = ["price.jump"]
    instance = scene.launch()
    assert scene.world.machines[0].ended
    assert instance.usd_hour is not None
    assert instance.usd_hour <= CAP


def test_a_missing_price_leaves_the_cap_in_place_and_the_cost_counted(scene: Scene):
    scene.run()
    scene.world.faults = {"price.missing": 1.0}
    scene.launch()
    scene.clock.sleep(3600)
    assert scene.ledger.cost("night") >= CAP
    assert any(event.kind == "unpriced" for event in scene.ledger.events("night"))


def test_a_status_that_cannot_be_read_makes_no_second_machine(scene: Scene):
    scene.run()
    scene.world.faults = {"status.unknown": 0.7}
    scene.launch()
    assert len(scene.world.machines) == 1


def test_one_list_without_the_machine_makes_no_second_one(scene: Scene):
    scene.run()
    scene.world.faults = {"list.misses": 0.4, "list.fails": 0.2}
    scene.launch()
    assert len(scene.world.machines) == 1


def test_a_machine_that_vanishes_is_replaced_after_clean_looks(scene: Scene):
    scene.run()
    scene.world.once = ["vanish"]
    scene.launch()
    assert len(scene.world.machines) == 2
    assert len(scene.world.live()) == 1


def test_a_machine_that_is_born_stopped_is_ended(scene: Scene):
    scene.run()
    scene.world.once = ["born_stopped"]
    scene.launch()
    stopped = scene.world.machines[0]
    assert stopped.ended
    assert (stopped.ended - stopped.created).total_seconds() < 120  # not by a deadline


def test_a_bid_as_dear_as_on_demand_is_not_sent(scene: Scene):
    scene.run()
    offers = [bid(1, 1.0), offer(2, 2.0)]
    first, second = scene.candidates(offers)
    scene.launch(candidates=[Candidate(first.provider, first.offer, first.container, Decimal("2.5")), second])
    assert len(scene.world.creates) == 1
    assert "on demand" in scene.ledger.events("night", 99)[2].words


def test_an_interruptible_offer_without_a_bid_is_not_rented_on_demand_by_mistake(scene: Scene):
    scene.run()
    with pytest.raises(NoMachine, match="skipped") as failure:
        scene.launch(offers=[bid(1, 1.0)])
    assert "rented on demand" in failure.value.tried[0].words
    assert scene.world.creates == []


def test_a_machine_that_its_check_refuses_is_bad_and_the_next_one_is_taken(scene: Scene):
    scene.run()
    scene.provider.unfit = CheckFailed("driver 470 is too old", "another machine")
    with pytest.raises(NoMachine) as failure:
        scene.launch(offers=[offer(1), offer(2)])
    assert [row.outcome for row in failure.value.tried] == ["unfit", "unfit"]
    assert scene.world.live() == []
    assert len(scene.ledger.bad_machines("vast")) == 2


def test_what_no_machine_would_do_stops_at_once_and_ends_the_one_that_is_there(scene: Scene):
    scene.run()
    scene.provider.unfit = WrongInput("the registry refuses the login", "check it")
    with pytest.raises(WrongInput, match="registry"):
        scene.launch()
    assert len(scene.world.machines) == 1
    assert scene.world.live() == []


def test_ready_may_say_that_a_machine_never_will_be(scene: Scene):
    scene.run()

    def ready(provider: ModelProvider, instance: object) -> str:
        raise Unfit("a refused shell")

    with pytest.raises(NoMachine):
        scene.launch(offers=[offer(1)], ready=ready)
    assert scene.world.live() == []


def test_an_interrupted_launch_leaves_the_machine_known_and_the_next_goes_on_with_it(scene: Scene):
    scene.run()

    def ready(provider: ModelProvider, instance: object) -> str:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        scene.launch(ready=ready)
    assert any("stays rented" in line for line in scene.said)
    assert len(scene.ledger.live("night")) == 1
    instance = scene.launch()
    assert [machine.id for machine in scene.world.machines] == [instance.id]


def test_a_caller_that_died_before_ready_leaves_no_orphan(scene: Scene):
    scene.run()
    scene.ledger.writes_left = 8  # while it waits
    with pytest.raises(Killed):
        scene.launch(offers=[offer(1, machine="bad-1")])
    scene.reopen()
    assert len(scene.world.live()) == 1
    with pytest.raises(NoMachine):
        scene.launch(offers=[offer(1, machine="gone-1")])
    assert scene.world.live() == []
    scene.agrees()


def test_a_run_that_was_ended_meanwhile_gets_no_machine(scene: Scene):
    scene.run()

    def ready(provider: ModelProvider, instance: object) -> str:
        scene.ledger.set_state("night", "ended", "by the user")
        return "not yet"

    with pytest.raises(Refused, match="ended"):
        scene.launch(ready=ready)
    assert scene.world.live() == []
    with pytest.raises(Refused, match="ended"):
        scene.launch()
    assert len(scene.world.creates) == 1


def test_a_budget_that_is_too_small_for_the_wait_is_not_begun(scene: Scene):
    scene.run(usd=Decimal("0.20"))
    with pytest.raises(NoMachine) as failure:
        scene.launch()
    assert scene.world.creates == []
    assert "0.20 USD are left" in failure.value.tried[0].words


def test_failed_attempts_count_against_the_budget(scene: Scene):
    scene.run(usd=Decimal("1.50"))
    scene.world.faults = {"stuck": 1.0}
    with pytest.raises((NoMachine, Refused)):
        scene.launch()
    assert scene.true_cost("night") <= scene.ledger.cost("night") <= Decimal("1.60")
    assert scene.world.live() == []


def test_a_run_that_has_a_machine_gets_no_second_one(scene: Scene):
    scene.run()
    scene.launch()
    with pytest.raises(Refused, match="has a machine"):
        scene.launch()
    assert len(scene.world.creates) == 1


def test_a_machine_that_cannot_be_ended_is_told_loudly_and_nothing_more_is_rented(scene: Scene):
    scene.run()
    scene.world.once, scene.world.faults = ["price.jump"], {"destroy.429": 1.0}
    with pytest.raises(StillThere, match="MAY STILL BE BILLED"):
        scene.launch()
    assert len(scene.world.creates) == 1
    scene.world.faults = {}
    scene.reopen()
    rows = scene.reconcile()
    assert "leftover" in scene.kinds(rows)
    assert scene.world.live() == []


def test_an_order_without_label_is_never_guessed_at(scene: Scene):
    scene.run()
    scene.world.labels, scene.world.once = False, ["create.drop_after_commit"]
    with pytest.raises(Unsettled, match="without a name"):
        scene.launch()
    assert len(scene.world.creates) == 1
    rows = scene.reconcile(adopt=["m1"])
    assert scene.kinds(rows)[0] == "adopted"
    scene.agrees()
    assert [known.run for known in scene.ledger.live()] == ["night"]


def test_a_slice_that_another_run_has_just_rented_is_not_bought_again(scene: Scene):
    scene.run()
    scene.run("day")
    scene.launch("night", offers=[offer(1)])
    with pytest.raises(NoMachine) as failure:
        scene.launch("day", offers=[offer(1)])
    assert "`night` has just rented it" in failure.value.tried[0].words


def elsewhere(scene: Scene, number: int = 7) -> Candidate:
    """An offer of another provider's, where all is well."""
    other = ModelProvider(World(scene.clock, seed=9), name="runpod")
    return Candidate(other, offer(number, provider="runpod"), container("night"))


def test_an_offer_that_is_gone_is_followed_by_another_provider_s(scene: Scene):
    scene.run()
    scene.world.faults = {"create.capacity": 1.0}
    found = scene.launch(candidates=[*scene.candidates([offer(1), offer(2)]), elsewhere(scene)])
    assert found.provider == "runpod" and len(scene.world.creates) == 2
    assert [attempt.because for attempt in scene.ledger.attempts()] == ["capacity", "capacity", ""]


@pytest.mark.parametrize("because", [Because.CREDIT, Because.KEY, Because.INVALID])
def test_a_provider_that_refuses_the_account_is_asked_once_and_the_others_are_tried(scene: Scene, because: Because):
    scene.run()
    scene.world.refuses = because
    found = scene.launch(candidates=[*scene.candidates([offer(1), offer(2), offer(3)]), elsewhere(scene)])
    assert found.provider == "runpod" and len(scene.world.creates) == 1
    assert [attempt.because for attempt in scene.ledger.attempts()] == [because, ""]
    assert [wish.state for wish in scene.ledger.wishes()] == [MET]


@pytest.mark.parametrize("because", [Because.CREDIT, Because.KEY, Because.INVALID])
def test_when_there_is_no_other_provider_its_reason_and_its_way_out_are_the_next_step(scene: Scene, because: Because):
    scene.run()
    scene.world.refuses = because
    with pytest.raises(NoMachine) as failure:
        scene.launch(offers=[offer(1), offer(2), offer(3)])
    assert failure.value.next_step == f"vast: no, {because}; see vast"
    assert [row.outcome for row in failure.value.tried] == [because, "skipped", "skipped"]
    assert "as before" in failure.value.tried[1].words
    assert scene.world.machines == [] and [wish.state for wish in scene.ledger.wishes()] == [UNMET]


def test_what_is_not_for_this_account_is_only_passed_over(scene: Scene):
    scene.run()
    scene.world.refuses = Because.FORBIDDEN
    with pytest.raises(NoMachine):
        scene.launch(offers=[offer(1), offer(2)])
    assert len(scene.world.creates) == 2


def test_tokens_that_go_without_a_secret_store_are_told_once(scene: Scene):
    scene.run()
    scene.provider.lacks = {"secrets": "tokens go into the machine's own variables"}
    secret = replace(container("night"), secrets={"HF_TOKEN": "hf_planted"})
    scene.launch(candidates=[replace(one, container=secret) for one in scene.candidates([bid(1, 1.0), offer(2)])])
    told = [line for line in scene.said if "own variables" in line]
    assert told == ["vast: tokens go into the machine's own variables"]
    assert "own variables" in str(scene.ledger.events("night", 99)) and "hf_planted" not in str(scene.said)


def test_where_tokens_go_is_told_before_they_are_sent(scene: Scene, monkeypatch: pytest.MonkeyPatch):
    scene.run()
    told: list[list[str]] = []
    launch, words = ModelProvider.launch, "tokens go into the machine's own variables"

    def template(provider: ModelProvider, made: Container) -> Template:
        provider.lacks = {"secrets": words}  # known only now, as at RunPod
        return Template(provider.name, "1", "t", "1", "c")

    def launched(provider: ModelProvider, order: Order) -> Instance:
        told.append(list(scene.said))
        return launch(provider, order)

    monkeypatch.setattr(ModelProvider, "ensure_template", template)
    monkeypatch.setattr(ModelProvider, "launch", launched)
    secret = replace(container("night"), secrets={"HF_TOKEN": "hf_planted"})
    scene.launch(candidates=[replace(one, container=secret) for one in scene.candidates([offer(1)])])
    assert [f"vast: {words}" in said for said in told] == [True]
