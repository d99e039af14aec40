from __future__ import annotations

import math

import pytest

from fleet.capacity.finish.goal import FLAGS, MOST, Goal
from profiles.errors import WrongInput


def test_two_goals_contradict_each_other_and_both_flags_are_named():
    with pytest.raises(WrongInput, match=r"--tokens and --budget contradict"):
        Goal(tokens=1e9, dollars=300)


def test_three_goals_are_all_named():
    with pytest.raises(WrongInput) as refused:
        Goal(tokens=1e9, hours=5, dollars=300)
    assert all(flag in refused.value.what for flag in ("--tokens", "--hours", "--budget"))


def test_no_goal_is_refused_with_the_flags_there_are():
    with pytest.raises(WrongInput) as refused:
        Goal()
    assert all(flag in refused.value.next_step for flag in FLAGS.values())


@pytest.mark.parametrize("name", FLAGS)
@pytest.mark.parametrize("value", [0, -1, math.nan, math.inf])
def test_amounts_that_are_no_amounts_are_refused_with_their_flag(name, value):
    with pytest.raises(WrongInput, match=FLAGS[name]):
        Goal(**{name: value}, dataset_tokens=1e9)


@pytest.mark.parametrize("name", FLAGS)
def test_absurd_amounts_are_refused_with_their_flag(name):
    with pytest.raises(WrongInput, match=FLAGS[name]):
        Goal(**{name: MOST[name] * 1.01}, dataset_tokens=1e9)
    assert Goal(**{name: MOST[name]}, dataset_tokens=1e9).amount == MOST[name]


def test_epochs_need_a_dataset():
    with pytest.raises(WrongInput, match="--epochs"):
        Goal(epochs=2)


@pytest.mark.parametrize(
    ("goal", "steps"),
    [
        (Goal(tokens=1_048_576 * 3), 3),
        (Goal(tokens=1_048_576 * 3 + 1), 4),
        (Goal(tokens=1), 1),
        (Goal(steps=100_000), 100_000),
        (Goal(hours=3), None),
        (Goal(dollars=3), None),
        (Goal(epochs=1, dataset_tokens=51.6e9), 49_210),  # seeds.md C12: one epoch is 49.2k steps
    ],
)
def test_steps_of_1048576_tokens(goal, steps):
    assert goal.steps_for(1_048_576) == steps
