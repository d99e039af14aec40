"""A run that was killed against one that was not: equal runs pass, each way of being unequal is found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from images.checks import training
from images.checks.training import KILLED, Attempt


def manifest(step: int, model: str = "a" * 64) -> Mapping[str, Any]:
    return {"step": step, "files": {"model.pt": {"sha256": model}, "progress.pt": {"sha256": "b" * 64}}}


def losses(first: int, last: int) -> dict[int, float]:
    return {step: 5.0 - step / 10 for step in range(first, last + 1)}


WHOLE = Attempt("a", 0, losses(1, 20), 1.0, checkpoint=manifest(20))
DEAD = Attempt("b", KILLED, losses(1, 12), 1.0, checkpoint=manifest(10))
RESUMED = Attempt("c", 0, losses(11, 20), 1.0, checkpoint=manifest(20))


def outcome(
    whole: Attempt = WHOLE, dead: Attempt = DEAD, resumed: Attempt = RESUMED, tolerance: float = 0.0
) -> dict[str, Any]:
    return {one.check: one.ok for one in training.compare(whole, dead, resumed, tolerance)}


def test_a_run_that_resumed_exactly_passes():
    assert outcome() == dict.fromkeys(("training", "SIGKILL", "resume", "losses", "checkpoint"), True)


def without(attempt: Attempt, step: int) -> Attempt:
    return replace(attempt, losses={key: value for key, value in attempt.losses.items() if key != step})


def other(attempt: Attempt, step: int, by: float) -> Attempt:
    return replace(attempt, losses={**attempt.losses, step: attempt.losses[step] + by})


@pytest.mark.parametrize(
    ("check", "change"),
    [
        ("training", {"whole": without(WHOLE, 7)}),
        ("training", {"whole": replace(WHOLE, code=1)}),
        ("training", {"whole": replace(WHOLE, losses={})}),
        ("SIGKILL", {"dead": replace(DEAD, code=0)}),
        ("resume", {"resumed": replace(RESUMED, losses=losses(1, 20))}),  # began again
        ("resume", {"resumed": replace(RESUMED, losses=losses(13, 20))}),  # left out the lost steps
        ("resume", {"resumed": replace(RESUMED, code=3)}),
        ("resume", {"dead": replace(DEAD, checkpoint=None)}),
        ("losses", {"resumed": other(RESUMED, 15, 1e-7)}),
        ("losses", {"resumed": other(RESUMED, 15, float("nan"))}),
        ("losses", {"resumed": other(RESUMED, 11, 1e-7)}),  # a step done twice
        ("losses", {"dead": other(DEAD, 3, 1e-7)}),  # already before the kill
        ("losses", {"resumed": without(RESUMED, 16)}),
        ("checkpoint", {"resumed": replace(RESUMED, checkpoint=manifest(20, "c" * 64))}),
        ("checkpoint", {"resumed": replace(RESUMED, checkpoint=manifest(15))}),
        ("checkpoint", {"resumed": replace(RESUMED, checkpoint=None)}),
    ],
)
def test_each_mutation_fires_its_own_check(check: str, change: Mapping[str, Attempt]):
    assert outcome(**change)[check] is False


def test_on_a_gpu_a_small_difference_passes_and_the_weights_are_a_note():
    resumed = replace(other(RESUMED, 15, 1e-4), checkpoint=manifest(20, "c" * 64))
    found = outcome(resumed=resumed, tolerance=training.GPU_TOLERANCE)
    assert (found["losses"], found["checkpoint"]) == (True, None)


def test_on_a_gpu_a_large_difference_does_not_pass():
    assert outcome(resumed=other(RESUMED, 15, 0.05), tolerance=training.GPU_TOLERANCE)["losses"] is False


@pytest.mark.parametrize(
    ("line", "step"),
    [
        ('{"event": "step", "attempt": 1, "step": 3, "loss": 5.25}', (3, 5.25)),
        ('{"event": "save", "step": 3}', None),
        ('{"event": "step", "step": 3', None),  # cut by the kill
        ("trainer: resuming from step-00000010", None),
        ("{}", None),
    ],
)
def test_only_whole_step_lines_count(line: str, step: tuple[int, float] | None):
    assert training.step_of(line) == step
