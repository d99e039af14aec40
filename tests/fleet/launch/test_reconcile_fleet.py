"""Ledger and providers made one: what lives is known, what nobody wants is ended, what is not ours is left alone."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

import pytest

from fleet.launch.end import end
from fleet.launch.outcomes import StillThere
from fleet.launch.rows import Row
from fleet.launch.settle import settle
from fleet.ledger import tags
from fleet.ledger.values import OPEN
from fleet.providers.values import Instance, Order
from fleet.wire.failed import KeyRefused
from tests.fleet.launch.launch_steps import CAP, Scene
from tests.fleet.launch.model_world import Killed, Machine, ModelProvider, container, offer


def stranger(scene: Scene, tag: str, run: str = "theirs") -> Machine:
    """A machine that nobody of ours ordered."""
    return scene.world.commit(Order(tag, offer(50), container(run), CAP))


@dataclass(slots=True)
class Deaf(ModelProvider):
    """Says yes to the first requests to end a machine, and does nothing."""

    deafness: int = 0

    def terminate(self, id: str) -> None:
        self.deafness -= 1
        if self.deafness < 0:
            self.world.kill(self.world.machines[0], "terminated")


def killed_at_the_order(scene: Scene, when: str = "after launch") -> None:
    scene.run()
    scene.world.die = when
    with pytest.raises(Killed):
        scene.launch()
    scene.reopen()


def test_a_reconcile_with_nothing_to_do_says_nothing_and_changes_nothing(scene: Scene):
    scene.run()
    scene.launch()
    assert scene.reconcile() == []
    scene.agrees()


def test_an_order_without_an_answer_is_found_and_its_wish_met(scene: Scene):
    killed_at_the_order(scene)
    assert scene.kinds(scene.reconcile()) == ["found", "wish"]
    assert [wish.state for wish in scene.ledger.wishes()] == ["met"]
    scene.agrees()


def test_settling_alone_finds_it_and_neither_ends_nor_makes_anything(scene: Scene):
    killed_at_the_order(scene)
    rows = settle(scene.ledger, scene.providers, scene.clock)
    assert scene.kinds(rows) == ["found"]
    assert len(scene.world.live()) == len(scene.world.machines) == 1
    assert scene.ledger.open_wish("night")


def test_an_order_that_made_nothing_closes_its_wish_unmet(scene: Scene):
    killed_at_the_order(scene, "before launch")
    assert scene.kinds(scene.reconcile()) == ["nothing", "wish"]
    assert [wish.state for wish in scene.ledger.wishes()] == ["unmet"]


def test_a_machine_of_a_run_that_is_over_is_ended(scene: Scene):
    scene.run()
    scene.launch()
    scene.ledger.set_state("night", "done", "all steps")
    rows = scene.reconcile()
    assert scene.kinds(rows) == ["leftover"]
    assert scene.world.live() == []


def test_a_late_machine_is_adopted_by_an_open_run_that_has_none(scene: Scene):
    scene.run()
    scene.world.faults = {"create.late": 1.0}
    with pytest.raises(Exception, match="no machine"):
        scene.launch(offers=[offer(1)])
    scene.clock.sleep(3600)
    assert scene.kinds(scene.reconcile()) == ["adopted"]
    assert scene.kinds(scene.reconcile()) == []
    scene.agrees()


def test_a_machine_that_is_gone_is_proven_gone_and_counted_until_then(scene: Scene):
    scene.run()
    scene.launch()
    scene.clock.sleep(1800)
    scene.world.kill(scene.world.machines[0], "host lost")
    rows = scene.reconcile()
    assert scene.kinds(rows) == ["ghost"]
    assert scene.ledger.live() == []
    assert scene.ledger.cost("night") >= scene.true_cost("night")


def test_one_list_without_a_machine_makes_no_ghost_of_it(scene: Scene):
    scene.run()
    scene.launch()
    scene.world.faults = {"list.misses": 0.6}
    for _ in range(5):
        assert "ghost" not in scene.kinds(scene.reconcile())
    assert len(scene.world.live()) == 1


def test_about_a_provider_that_is_down_nothing_is_concluded(scene: Scene):
    killed_at_the_order(scene)
    scene.world.down = True
    rows = scene.reconcile()
    assert scene.kinds(rows) == ["unclear", "silent"]
    assert not any(row.done for row in rows)
    assert scene.ledger.unsettled()
    scene.world.down = False
    scene.reconcile()
    scene.agrees()


def test_another_ledgers_machines_and_nobodys_are_told_and_never_touched(scene: Scene):
    stranger(scene, "stk-zzzz-theirs-12345678")
    stranger(scene, "my-notebook")
    rows = scene.reconcile()
    assert scene.kinds(rows) == ["foreign", "foreign"]
    assert "another ledger's (zzzz)" in rows[0].words
    assert len(scene.world.live()) == 2
    assert scene.ledger.live() == []


@pytest.mark.parametrize("word", ["m1", "stk-zzzz-theirs-12345678", "zzzz"])
def test_they_are_adopted_when_their_id_tag_or_ledger_is_named(scene: Scene, word: str):
    stranger(scene, "stk-zzzz-theirs-12345678")
    assert scene.kinds(scene.reconcile(adopt=[word])) == ["adopted"]
    assert scene.kinds(scene.reconcile()) == []
    assert [known.run for known in scene.ledger.live()] == ["theirs"]
    assert scene.ledger.run("theirs").remote == "s3://bucket/runs"


def test_a_lost_ledger_is_recovered_from_the_providers(scene: Scene):
    scene.run("night")
    scene.run("a-very-long-name-of-a-run-1")
    scene.launch("night", offers=[offer(1)])
    scene.launch("a-very-long-name-of-a-run-1", offers=[offer(2)])
    scene.ledger.shut()
    (scene.folder / "fleet.sqlite").write_bytes(b"not a ledger" * 500)
    scene.ledger = scene._opened()
    assert "damaged" in scene.ledger.moved
    rows = scene.reconcile()
    assert scene.kinds(rows) == ["adopted", "adopted"]
    assert sorted(run.name for run in scene.ledger.runs()) == ["a-very-long-name-of-a-run-1", "night"]
    assert all(run.state == OPEN and run.image for run in scene.ledger.runs())
    scene.clock.sleep(60)
    assert scene.ledger.cost("night") >= scene.world.machines[0].billed(scene.clock.time)
    assert scene.reconcile() == []
    assert len(scene.world.live()) == 2


def test_with_the_whole_folder_lost_the_old_ledgers_letters_bring_it_back(scene: Scene):
    scene.run()
    scene.launch()
    old = scene.ledger.id
    scene.ledger.shut()
    shutil.rmtree(scene.folder)
    scene.ledger = scene._opened()
    assert scene.ledger.id != old
    assert scene.kinds(scene.reconcile()) == ["foreign"]
    assert scene.kinds(scene.reconcile(adopt=[old])) == ["adopted"]
    scene.agrees()


def test_two_of_one_run_after_a_lost_ledger_become_one(scene: Scene):
    for random in ("aaaaaaaa", "bbbbbbbb"):
        stranger(scene, str(tags.Tag(scene.ledger.id, "night", random)), "night")
    scene.world.boot = 0
    rows = scene.reconcile()
    assert sorted(scene.kinds(rows)) == ["adopted", "adopted", "duplicate"]
    assert [machine.id for machine in scene.world.live()] == ["m1"]


def test_two_whose_runs_share_their_first_letters_stay_two(scene: Scene):
    for random in ("aaaaaaaa", "bbbbbbbb"):
        made = stranger(scene, str(tags.Tag(scene.ledger.id, "night", random)))
        made.env = {}
    scene.reconcile()
    assert len(scene.world.live()) == 2
    assert len({known.run for known in scene.ledger.live()}) == 2


def test_a_dry_run_ends_and_adopts_nothing(scene: Scene):
    scene.run()
    scene.launch()
    scene.ledger.set_state("night", "ended")
    stranger(scene, str(tags.Tag(scene.ledger.id, "other", "aaaaaaaa")))
    before = len(scene.ledger.runs())
    rows = scene.reconcile(dry_run=True)
    assert {row.kind for row in rows} >= {"leftover", "adopted"}
    assert not any(row.done for row in rows)
    assert len(scene.world.live()) == 2
    assert len(scene.ledger.runs()) == before


def test_a_run_that_a_live_process_holds_is_left_to_it(scene: Scene):
    scene.run()
    scene.launch()
    scene.ledger.set_state("night", "ended")
    other = scene._opened()
    with other.hold("night"):
        assert scene.kinds(scene.reconcile()) == ["held"]
    assert len(scene.world.live()) == 1
    other.shut()
    assert scene.kinds(scene.reconcile()) == ["leftover"]


def test_ending_is_repeated_through_refusals_lost_answers_and_lists_that_lag(scene: Scene):
    scene.run()
    instance = scene.launch()
    scene.world.lag = 50.0
    scene.world.faults = {"destroy.429": 0.6, "destroy.lost_answer": 0.3, "list.fails": 0.3}
    end(scene.ledger, scene.provider, instance.id, "by the user", scene.clock)
    assert scene.world.live() == []
    assert scene.ledger.live() == []
    end(scene.ledger, scene.provider, instance.id, "again", scene.clock)


def test_a_kill_between_the_request_to_end_and_its_proof_is_finished_by_reconcile(scene: Scene):
    scene.run()
    instance = scene.launch()
    scene.world.die = "after terminate"
    with pytest.raises(Killed):
        end(scene.ledger, scene.provider, instance.id, "by the user", scene.clock)
    scene.reopen()
    assert [known.ending for known in scene.ledger.live()] == ["by the user"]
    scene.reconcile()
    scene.agrees()
    assert scene.ledger.live() == []


def test_what_was_to_be_ended_and_never_was_is_ended_by_reconcile(scene: Scene):
    scene.run()
    instance = scene.launch()
    scene.ledger.ending("vast", instance.id, "by the user")
    scene.reopen()
    assert scene.kinds(scene.reconcile()) == ["leftover"]
    assert scene.world.live() == []


def test_without_proof_it_is_loud_and_the_ledger_still_counts_it(scene: Scene):
    scene.run()
    instance = scene.launch()
    scene.world.down = True
    with pytest.raises(StillThere):
        end(scene.ledger, scene.provider, instance.id, "by the user", scene.clock)
    assert [known.id for known in scene.ledger.live()] == [instance.id]
    assert scene.ledger.events("night")[-1].kind == "still-there"


def test_one_that_is_too_new_to_be_listed_is_not_proven_gone_by_that(scene: Scene):
    scene.run()
    scene.world.once, scene.world.hidden = ["create.refused_anyway"], 100.0
    begin = scene.clock.time
    scene.launch()
    first, second = scene.world.machines
    assert first.ended
    assert first.ended < second.created  # it was gone before the next order
    assert (second.created - begin).total_seconds() > 100
    assert second.ended is None


def test_one_list_without_it_is_no_proof_that_it_is_gone(scene: Scene):
    scene.run()
    instance = scene.launch()

    scene.world.once = ["list.misses"]
    scene.provider = Deaf(scene.world, deafness=1)
    end(scene.ledger, scene.provider, instance.id, "by the user", scene.clock)
    assert scene.world.live() == []


def test_a_machine_that_is_listed_again_after_its_end_is_ended_again(scene: Scene):
    scene.run()
    instance = scene.launch()
    end(scene.ledger, scene.provider, instance.id, "by the user", scene.clock)
    scene.ledger.set_state("night", "ended")
    truth = scene.world.machines[0]
    truth.ended = None
    scene.clock.sleep(7200)
    rows = scene.reconcile()
    assert scene.kinds(rows) == ["leftover"]
    assert truth.ended is not None
    scene.agrees()


def test_provider_times_and_our_clock_may_differ_and_step(scene: Scene):
    scene.run()
    scene.world.skew = timedelta(hours=9)
    scene.world.once = ["create.drop_after_commit"]
    scene.clock.shift = timedelta(hours=-30)
    scene.launch()
    scene.clock.shift = timedelta(hours=-33)
    scene.clock.sleep(3600)
    assert scene.reconcile() == []
    scene.clock.sleep(3600)
    assert scene.reconcile() == []
    assert len(scene.world.machines) == 1
    lost = scene.world.machines[0].price * Decimal("1.05")  # what ran between the last sight and the step back
    assert scene.ledger.cost("night") >= scene.true_cost("night") - lost


def test_what_a_list_does_not_repeat_is_kept(scene: Scene):
    scene.run()
    scene.launch()
    scene.world.labels = False
    assert scene.reconcile() == []
    known = scene.ledger.live()[0]
    assert tags.read(known.tag) is not None
    assert known.instance.env["STOKER_RUN"] == "night"


def test_an_order_of_a_run_that_was_ended_meanwhile_is_found_and_ended(scene: Scene):
    scene.world.lag = scene.world.hidden = 150.0
    killed_at_the_order(scene)
    scene.ledger.set_state("night", "ended", "by the user")
    assert scene.kinds(scene.reconcile()) == ["found", "leftover", "wish"]
    assert scene.world.live() == []


def test_a_lost_machine_that_lingers_in_lists_is_a_ghost_in_the_end(scene: Scene):
    scene.run()
    scene.launch()
    scene.world.lag = 60.0
    scene.world.kill(scene.world.machines[0], "host lost")
    assert scene.reconcile() == []  # it is listed, and counts as there
    assert len(scene.ledger.live()) == 1
    scene.clock.sleep(60)
    assert scene.kinds(scene.reconcile()) == ["ghost"]
    scene.agrees()


def slept(scene: Scene, act: Callable[[], object]) -> float:
    """Seconds that `act` waited."""
    before = scene.clock.asleep
    act()
    return scene.clock.asleep - before


def test_where_ledger_and_list_agree_one_look_is_enough_and_nobody_waits(scene: Scene):
    assert slept(scene, scene.reconcile) < 1
    scene.run()
    scene.launch()
    stranger(scene, "my-notebook")
    scene.said.clear()
    assert slept(scene, scene.reconcile) < 1
    assert scene.said == []


def test_one_that_is_not_listed_is_gone_after_as_many_clean_lists_as_ever_and_each_pause_is_told(scene: Scene):
    scene.run()
    instance = scene.launch()
    scene.world.kill(scene.world.machines[0], "host lost")
    scene.said.clear()
    assert slept(scene, scene.reconcile) >= (scene.patience.reads - 1) * scene.patience.look_every
    told = [line for line in scene.said if "clean list" in line]
    assert told == [
        f"looking again in 15 s: vast: {instance.id} is not listed; clean list {n} of 5" for n in range(1, 5)
    ]
    assert any("is not proven gone yet" in line for line in scene.said)


def test_the_pauses_after_an_order_without_an_answer_are_told(scene: Scene):
    killed_at_the_order(scene, "before launch")
    scene.ledger.unclear(scene.ledger.unsettled()[0].tag, "lost")
    scene.said.clear()
    assert slept(scene, scene.reconcile) >= scene.patience.look
    assert "had no answer: not listed for 0 of 180 s; looking again in 15 s" in scene.said[0]


def test_what_is_seen_again_in_the_next_list_leaves_nothing_to_decide(scene: Scene):
    scene.run()
    scene.launch()
    scene.world.once = ["list.misses"]
    waited = slept(scene, lambda: scene.agrees() if scene.reconcile() == [] else pytest.fail())
    assert scene.patience.look_every <= waited < 2 * scene.patience.look_every


@pytest.mark.parametrize("again", [False, True])
def test_after_a_lost_ledger_one_list_is_not_enough(scene: Scene, again: bool):
    scene.ledger.shut()
    (scene.folder / "fleet.sqlite").write_bytes(b"not a ledger" * 500)
    scene.ledger = scene._opened()
    if again:
        scene.reopen()
    assert slept(scene, scene.reconcile) >= (scene.patience.reads - 1) * scene.patience.look_every


def test_a_provider_that_fails_where_nothing_of_ours_is_holds_nobody_up_for_long(scene: Scene):
    scene.world.down = True
    assert slept(scene, lambda: scene.kinds(scene.reconcile())) < 3 * scene.patience.look_every
    assert scene.kinds(scene.reconcile()) == ["silent"]


@dataclass(slots=True)
class Locked(ModelProvider):
    """Refuses the key."""

    def instances(self) -> list[Instance]:
        raise KeyRefused(self.name, "401", "make another key", 401)


def test_a_key_that_is_refused_is_not_tried_again(scene: Scene):
    scene.run()
    scene.launch()
    scene.provider = Locked(scene.world)
    rows: list[Row] = []
    assert slept(scene, lambda: rows.extend(scene.reconcile())) < 1
    assert scene.kinds(rows) == ["silent"] and not rows[0].done
    assert len(scene.ledger.live()) == 1
