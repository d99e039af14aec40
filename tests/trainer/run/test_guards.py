"""Guards: what is not finite is never applied; skip, then roll back, then stop."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as some

from trainer.config import Guard
from trainer.run.guards import APPLY, ROLLBACK, SKIP, STOP, Watch, judge

NAN, INF = math.nan, math.inf


@given(
    some.lists(some.sampled_from([1.0, 2.0, NAN, INF]), max_size=60),
    some.sampled_from(["skip", "rollback", "stop"]),
    some.integers(0, 4),
    some.integers(0, 3),
)
def test_what_is_not_finite_is_never_applied(losses, nan, skips, rollbacks):
    guard, watch = Guard(nan=nan, skips=skips, rollbacks=rollbacks, spike="off"), Watch()
    for loss in losses:
        verdict = judge(loss, 1.0, guard, watch)
        assert (verdict.action == APPLY) == math.isfinite(loss)
        assert bool(verdict.story) == (verdict.action != APPLY)
        assert watch.rollbacks <= rollbacks
        if verdict.action == STOP:
            return
        assert watch.skipped <= skips


def test_a_broken_gradient_counts_as_a_broken_loss():
    assert judge(2.0, NAN, Guard(), Watch()).action == SKIP
    assert judge(2.0, INF, Guard(nan="stop"), Watch()).action == STOP


def test_skips_in_a_row_lead_to_a_rollback_and_those_to_the_end():
    guard, watch = Guard(skips=2, rollbacks=1), Watch()
    assert [judge(NAN, 1.0, guard, watch).action for _ in range(6)] == [SKIP, SKIP, ROLLBACK, SKIP, SKIP, STOP]


def test_a_good_step_forgets_the_skips_before_it():
    guard, watch = Guard(skips=1), Watch()
    for _ in range(5):
        assert judge(NAN, 1.0, guard, watch).action == SKIP
        assert judge(2.0, 1.0, guard, watch).action == APPLY


@pytest.mark.parametrize(("wish", "action"), [("warn", APPLY), ("skip", SKIP), ("rollback", ROLLBACK), ("stop", STOP)])
def test_a_spike_far_above_the_running_mean_is_told_and_handled(wish, action):
    guard, watch = Guard(spike=wish, spike_window=20), Watch()
    for step in range(40):
        assert judge(3.0 + 0.05 * math.sin(step), 1.0, guard, watch).story == ""
    verdict = judge(6.0, 1.0, guard, watch)
    assert verdict.action == action and "far above its mean 3.0" in verdict.story


def test_before_the_window_is_full_nothing_is_a_spike():
    guard, watch = Guard(spike="stop", spike_window=100), Watch()
    assert all(judge(loss, 1.0, guard, watch).action == APPLY for loss in (11.0, 3.0, 50.0))


def test_a_skipped_loss_does_not_move_the_mean():
    guard, watch = Guard(spike="skip", spike_window=10), Watch()
    for _ in range(20):
        judge(3.0, 1.0, guard, watch)
    before = watch.mean
    assert judge(100.0, 1.0, guard, watch).action == SKIP
    assert watch.mean == before
