"""A word that names no machine is the user's mistake, where everybody answered; nothing is done before that is told."""

from __future__ import annotations

import pytest

from fleet.launch import rows
from profiles.errors import WrongInput
from tests.fleet.launch.launch_steps import Scene


@pytest.mark.parametrize("word", ["xxxx", "stk-none", "m9"])
def test_nothing_of_that_name_is_refused_before_anything_is_ended(scene: Scene, word: str):
    scene.run()
    scene.launch()
    scene.ledger.set_state("night", "ended")
    with pytest.raises(WrongInput, match=f"no machine, tag or ledger `{word}` at vast"):
        scene.reconcile(adopt=[word])
    assert len(scene.world.live()) == 1


def test_our_own_may_be_named_by_id_tag_or_ledger_and_nothing_changes(scene: Scene):
    scene.run()
    made = scene.launch()
    assert scene.reconcile(adopt=[made.id, made.tag, scene.ledger.id]) == []


def test_where_somebody_did_not_answer_it_is_not_settled(scene: Scene):
    scene.world.down = True
    found = scene.reconcile(adopt=["xxxx"])
    assert [(row.kind, row.done) for row in found] == [(rows.UNCLEAR, False), (rows.SILENT, False)]
    assert "`xxxx` is not listed where there was an answer; vast did not answer" in found[0].words
    assert found[1].step == "ask again later"
