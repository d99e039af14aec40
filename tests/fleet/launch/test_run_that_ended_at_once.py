"""A run that ends before anybody looks: its own mistake is not its machine's, and is not made on the next one."""

from __future__ import annotations

import pytest

from fleet.launch.outcomes import NoMachine
from fleet.ledger.values import MET
from profiles.errors import CheckFailed
from tests.fleet.launch.launch_steps import Scene

WRONG = ("run: STOKER_DATA names no file", "keeper: the run ended with 2")


def test_its_exit_code_stops_the_launch_and_its_last_lines_are_kept(scene: Scene):
    scene.run()
    scene.world.once, scene.world.output = ["born_stopped"], WRONG
    with pytest.raises(CheckFailed, match="ended with 2"):
        scene.launch()
    assert len(scene.world.machines) == 1
    assert not scene.world.live()
    assert not scene.ledger.bad_machines("model")
    assert [event.words for event in scene.ledger.events("night") if event.kind == "output"] == list(WRONG)


def test_one_that_had_nothing_left_to_do_is_no_loss(scene: Scene):
    scene.run()
    scene.world.once, scene.world.output = ["born_stopped"], ("keeper: the run ended with 0",)
    instance = scene.launch()
    assert [machine.id for machine in scene.world.live()] == [instance.id]
    assert [wish.state for wish in scene.ledger.wishes()] == [MET]


def test_a_machine_that_stopped_without_a_word_of_the_run_is_left_for_the_next(scene: Scene):
    scene.run()
    scene.world.once, scene.world.output = ["born_stopped"], ("pulling layer 3/9",)
    scene.launch()
    assert len(scene.world.machines) == 2


def test_where_no_output_can_be_read_nothing_is_concluded_from_it(scene: Scene):
    scene.run()
    scene.world.faults = {"born_stopped": 1.0}
    with pytest.raises(NoMachine):
        scene.launch()
