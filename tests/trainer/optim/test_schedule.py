"""The learning rate: pure in the step, and the old loop's cosine to the last digits."""

from __future__ import annotations

import dataclasses
import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as some

from trainer.config import Optim
from trainer.optim.schedule import scale


@some.composite
def schedules(draw, names=("cosine", "wsd", "linear", "constant")):
    lr = draw(some.floats(1e-5, 1.0))
    return Optim(
        lr=lr,
        min_lr=lr * draw(some.floats(0, 1)),
        schedule=draw(some.sampled_from(names)),
        warmup=draw(some.integers(0, 50)),
        decay_steps=draw(some.integers(60, 500)),
        decay_fraction=draw(some.floats(0.01, 1)),
    )


@given(schedules(names=("cosine",)), some.integers(0, 600))
def test_cosine_gives_the_numbers_of_the_formula(optim, step):
    if step < optim.warmup:
        expected = optim.lr * (step + 1) / optim.warmup
    else:
        part = min(1.0, (step - optim.warmup) / max(1, optim.decay_steps - optim.warmup))
        expected = optim.min_lr + 0.5 * (optim.lr - optim.min_lr) * (1.0 + math.cos(math.pi * part))
    assert scale(step, optim, 0) * optim.lr == pytest.approx(expected, rel=1e-12)


@given(schedules())
def test_the_rate_rises_to_one_then_never_rises_and_ends_at_the_floor(optim):
    rates = [scale(step, optim, 0) for step in range(optim.decay_steps + 50)]
    floor = optim.min_lr / optim.lr
    rising, falling = rates[: optim.warmup], rates[optim.warmup :]
    assert all(a < b for a, b in itertools.pairwise(rising))
    assert all(a >= b for a, b in itertools.pairwise(falling))
    assert falling[0] == pytest.approx(1.0) and max(rates) <= 1.0 + 1e-12
    assert all(rate > 0 for rate in rising) and min(falling) >= floor - 1e-12
    if optim.schedule != "constant":
        assert falling[-1] == pytest.approx(floor, abs=1e-12)


@given(schedules(names=("cosine", "linear", "wsd")))
def test_no_step_falls_further_than_the_steepest_part_allows(optim):
    fall = optim.decay_steps - optim.warmup
    if optim.schedule != "cosine":
        fall = min(fall, round(optim.decay_fraction * optim.decay_steps))
    steepest = {"cosine": math.pi / 2 / fall, "linear": 1 / max(1, fall), "wsd": math.sqrt(1 / max(1, fall))}
    rates = [scale(step, optim, 0) for step in range(optim.warmup, optim.decay_steps + 10)]
    assert max(a - b for a, b in itertools.pairwise(rates)) <= steepest[optim.schedule] + 1e-9


@given(schedules(), some.integers(0, 600), some.integers(1, 5000), some.integers(1, 5000))
def test_the_length_of_the_run_changes_no_rate(optim, step, one, other):
    assert scale(step, optim, one) == scale(step, optim, other)


@given(schedules(), some.integers(0, 600))
def test_without_decay_steps_the_run_is_the_horizon(optim, step):
    assert scale(step, dataclasses.replace(optim, decay_steps=0), optim.decay_steps) == scale(step, optim, 7)


def test_wsd_keeps_the_peak_until_the_last_part_then_falls_as_one_minus_the_root():
    optim = Optim(lr=1.0, min_lr=0.0, schedule="wsd", warmup=10, decay_steps=100, decay_fraction=0.2)
    assert [scale(step, optim, 0) for step in (10, 50, 80)] == [1.0, 1.0, 1.0]
    assert scale(85, optim, 0) == pytest.approx(0.5) and scale(100, optim, 0) == 0.0


def test_linear_falls_in_a_straight_line_and_never_before_the_warm_up_ends():
    optim = Optim(lr=1.0, min_lr=0.1, schedule="linear", warmup=10, decay_steps=100, decay_fraction=0.5)
    assert scale(75, optim, 0) == pytest.approx(0.55)
    whole = Optim(lr=1.0, min_lr=0.0, schedule="linear", warmup=40, decay_steps=100, decay_fraction=1.0)
    assert scale(40, whole, 0) == 1.0 and scale(70, whole, 0) == pytest.approx(0.5)


def test_a_rate_of_zero_is_no_division():
    assert scale(50, Optim(lr=0.0, min_lr=0.0), 100) >= 0.0
