"""What may go: never the last, never what is protected, and nothing twice."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.checkpoint.retention import expendable

STEPS = st.lists(st.integers(0, 200), unique=True, max_size=20)
KEEP = st.integers(1, 6)
EVERY = st.integers(0, 50)
PROTECT = st.sets(st.integers(0, 200), max_size=5)


def left(steps, *rules):
    return sorted(set(steps) - set(expendable(steps, *rules)))


def test_the_newest_stay_and_the_oldest_go_first():
    assert expendable([10, 50, 30, 20, 40], 2, 0, ()) == [10, 20, 30]


def test_multiples_and_protected_ones_stay():
    assert expendable([10, 20, 30, 40, 50, 60], 1, 20, {30}) == [10, 50]


@pytest.mark.parametrize(("keep", "every"), [(0, 0), (-1, 0), (1, -5)])
def test_rules_that_would_keep_nothing_are_refused(keep, every):
    with pytest.raises(ValueError):
        expendable([10], keep, every, ())


@given(STEPS, KEEP, EVERY, PROTECT)
def test_something_always_stays_the_newest_among_it(steps, keep, every, protect):
    kept = left(steps, keep, every, protect)
    assert kept[-keep:] == sorted(steps)[-keep:]
    assert set(steps) & protect <= set(kept)
    assert {step for step in steps if every and step % every == 0} <= set(kept)


@given(STEPS, KEEP, EVERY, PROTECT)
def test_pruning_twice_is_pruning_once(steps, keep, every, protect):
    kept = left(steps, keep, every, protect)
    assert expendable(kept, keep, every, protect) == []


@given(STEPS, KEEP, EVERY, PROTECT, st.integers(201, 300))
def test_one_more_checkpoint_pushes_out_at_most_one_of_those_that_were_left(steps, keep, every, protect, newer):
    kept = left(steps, keep, every, protect)
    pushed = expendable([*kept, newer], keep, every, protect)
    assert len(pushed) <= 1
    assert set(pushed) <= set(sorted(steps)[-keep:])


@given(STEPS, KEEP, EVERY, PROTECT)
def test_keeping_more_never_deletes_more(steps, keep, every, protect):
    more = set(expendable(steps, keep + 1, every, protect))
    assert more <= set(expendable(steps, keep, every, protect))
