from __future__ import annotations

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.capacity.finish.remaining import Progress, remaining
from profiles.errors import CheckFailed, WrongInput

HALF = Progress(
    run="a", step=500, steps=1500, tokens=500 * 1024, step_tokens=1024,
    step_seconds=(3.0, 3.6, 4.2), overhead=0.0, gpus=8, price=2.0, spent=8.0, seen=1_800_000_000.0,
)  # fmt: skip


def test_a_thousand_steps_of_3_6_seconds_are_an_hour():
    left = remaining(HALF)
    assert left.steps == 1000
    assert left.hours.value == pytest.approx(1.0)
    assert left.hours.low < 1 < left.hours.high
    assert left.dollars.value == pytest.approx(16.0)
    assert left.tokens.value == 1000 * 1024
    assert left.finish_at.value == pytest.approx(1_800_003_600)
    assert left.done == pytest.approx(1 / 3)


def test_saves_and_evaluations_between_the_steps_count():
    assert remaining(dataclasses.replace(HALF, overhead=0.4)).hours.value == pytest.approx(4000 / 3600)


def test_another_price_may_be_given():
    assert remaining(HALF, price=3.0).dollars.value == pytest.approx(24.0)


def test_a_finished_run_has_nothing_left():
    left = remaining(dataclasses.replace(HALF, step=1500))
    assert (left.steps, left.hours.value, left.dollars.value, left.done) == (0, 0, 0, 1)


def test_a_run_without_a_step_or_an_end_cannot_be_judged():
    with pytest.raises(CheckFailed, match="step"):
        remaining(dataclasses.replace(HALF, step=0))
    with pytest.raises(CheckFailed, match="how many steps"):
        remaining(dataclasses.replace(HALF, steps=0))


@pytest.mark.parametrize("wrong", [{"step": -1}, {"price": float("nan")}, {"step_seconds": (1.0, float("inf"), 1.0)}])
def test_numbers_that_make_no_sense_are_refused(wrong):
    with pytest.raises(WrongInput):
        dataclasses.replace(HALF, **wrong)


@given(st.integers(1, 1500), st.integers(1, 1500))
def test_later_steps_leave_less(one, two):
    first, second = sorted((one, two))
    before, after = (remaining(dataclasses.replace(HALF, step=step)) for step in (first, second))
    assert after.hours.value <= before.hours.value
    assert json.dumps(after.to_json(), allow_nan=False)
