"""Alive, done, lost or stuck: what is concluded, and what is not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.life.signs import Signs
from fleet.life.verdict import Life, Patience, Sight, judge
from fleet.providers.values import Instance, State

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
PATIENCE = Patience(boot=timedelta(minutes=40), silence=timedelta(minutes=15))


def ago(minutes: float) -> datetime:
    return NOW - timedelta(minutes=minutes)


def life(state: State | None, signs: Signs | None = None, **more: object) -> Life:
    instance = None if state is None else Instance("vast", "1", "stk-a-b-c", state)
    sight = Sight(instance, signs or Signs(), **{"ordered": ago(60), **more})
    return judge(sight, NOW, PATIENCE).life


def test_a_machine_that_steps_trains():
    assert life(State.RUNNING, Signs(step=7), heard=ago(1)) is Life.TRAINING


def test_a_machine_that_never_stepped_is_given_time_and_then_is_stuck():
    assert life(State.RUNNING, ordered=ago(39)) is Life.BOOTING
    assert life(State.RUNNING, ordered=ago(41)) is Life.STUCK
    assert life(State.PENDING, ordered=ago(41)) is Life.STUCK


def test_a_machine_that_went_quiet_is_silent_and_not_lost():
    assert life(State.RUNNING, Signs(step=7), heard=ago(16)) is Life.SILENT


@pytest.mark.parametrize("state", [None, State.INTERRUPTED, State.STOPPED])
def test_gone_interrupted_and_stopped_by_others_are_losses(state: State | None):
    assert life(state, Signs(step=7), heard=ago(1)) is Life.LOST


def test_a_run_that_said_it_was_done_is_done_though_its_machine_is_gone():
    assert life(None, Signs(step=7, stop="done")) is Life.DONE
    assert life(None, Signs(step=7, stop="the dollar limit")) is Life.LIMITED


def test_a_stop_by_a_signal_alone_is_no_end():
    assert life(None, Signs(step=7, stop="SIGTERM")) is Life.LOST


def test_of_a_provider_that_does_not_answer_nothing_is_concluded():
    assert life(None, Signs(step=7), heard=ago(500), listed=False) is Life.UNREADABLE


def test_a_state_that_nobody_knows_is_not_death():
    assert life(State.UNKNOWN, Signs(step=7), heard=ago(1)) is Life.TRAINING
    assert life(State.UNKNOWN, ordered=ago(5)) is Life.UNREADABLE


def test_a_container_that_ended_before_its_first_step_failed_by_itself():
    assert life(State.FAILED) is Life.FAILED
    assert life(State.FAILED, Signs(step=7)) is Life.LOST


@given(st.sampled_from([*State, None]), st.floats(0, 1e4), st.one_of(st.none(), st.floats(0, 1e4)), st.booleans())
def test_only_a_loss_or_a_stuck_boot_rents_again(
    state: State | None, ordered: float, heard: float | None, listed: bool
):
    instance = None if state is None else Instance("vast", "1", "t", state)
    sight = Sight(
        instance, Signs(step=None if heard is None else 1), ago(ordered), None if heard is None else ago(heard), listed
    )
    verdict = judge(sight, NOW, PATIENCE)
    if verdict.resumable:
        assert listed
        assert state in (None, State.INTERRUPTED, State.STOPPED, State.FAILED) or verdict.life is Life.STUCK


def test_a_script_that_ended_well_is_done_whatever_became_of_its_machine():
    for state in (None, State.STOPPED, State.RUNNING):
        assert life(state, Signs(step=7, exited=0)) is Life.DONE
    assert life(None, Signs(step=7, exited=0), listed=False) is Life.DONE


def test_what_could_not_be_sent_is_not_done():
    assert life(State.RUNNING, Signs(step=7, stop="done", exited=3)) is Life.FAILED
    assert life(State.RUNNING, Signs(step=7, stop="done", exited=75)) is Life.DONE
