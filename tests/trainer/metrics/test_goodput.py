"""Goodput: what share of the paid time is part of the final model."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.metrics.goodput import KINDS, Tally, goodput


def line(event, attempt, up, **values):
    return {"event": event, "attempt": attempt, "time": 1000.0 * attempt + up, "up": up, **values}


def whole_run():
    """20 s start-up, ten steps of 10 s of which the first takes 25, one evaluation of 5 s, one save of 3 s."""
    lines, up = [line("start", 1, 20.0, step=0, price=3.6, gpus=2)], 20.0
    for step in range(1, 11):
        seconds = 25.0 if step == 1 else 10.0
        up += seconds
        lines.append(line("step", 1, up, step=step, step_seconds=seconds))
    lines.append(line("eval", 1, up + 5, step=10, seconds=5.0))
    lines.append(line("save", 1, up + 8, step=10, stall=3.0))
    lines.append(line("stop", 1, up + 9, step=10, reason="done"))
    return lines


def test_every_second_of_a_run_is_of_one_kind():
    found = goodput(whole_run())
    assert (found.startup, found.compile, found.evaluation, found.save, found.other) == (20, 15, 5, 3, 1)
    assert (found.steps, found.lost, found.seconds) == (100, 0, 144)
    assert found.goodput == pytest.approx(100 / 144)
    assert found.dollars == found.dollars_attempt == pytest.approx(144 / 3600 * 3.6 * 2)
    assert (found.attempts, found.unsaved_steps) == (1, 0)


def test_steps_done_again_after_a_kill_are_lost_the_first_time():
    first = [record for record in whole_run() if record["event"] in ("start", "step")]
    first.insert(6, line("save", 1, first[5]["up"] + 1, step=5, stall=1.0))  # after step 5; step 6 began 1 s later
    again = [line("start", 2, 30.0, step=5, price=3.6, gpus=2)]
    again += [line("step", 2, 30.0 + 10 * n, step=5 + n, step_seconds=10.0) for n in range(1, 6)]
    found = goodput([*first, *again])
    assert found.lost_steps == 5
    assert found.lost == pytest.approx(50 - 1)
    assert found.steps == pytest.approx(100)
    assert found.startup == 50
    assert found.unsaved_steps == 5
    assert found.between_attempts == pytest.approx(2000.0 - (1000 + first[-1]["up"]))
    assert found.dollars > found.dollars_attempt > 0


def test_a_rollback_loses_the_steps_behind_the_checkpoint():
    lines = [line("start", 1, 0.0, step=0)]
    lines += [line("step", 1, 1.0 * step, step=step, step_seconds=1.0) for step in range(1, 9)]
    lines += [line("guard", 1, 9.0, step=9, action="rollback", to=6)]
    lines += [line("step", 1, 10.0, step=7, step_seconds=1.0)]
    found = goodput(lines)
    assert (found.steps, found.lost, found.lost_steps, found.other) == (7, 3, 2, 0)


def test_a_skipped_step_is_lost_and_a_warning_is_not():
    lines = [line("start", 1, 0.0, step=0), line("step", 1, 1.0, step=1), line("guard", 1, 2.0, step=2, action="skip")]
    assert goodput(lines).lost == 1
    assert goodput([*lines[:2], line("guard", 1, 2.0, step=2, action="warn")]).lost == 0


def test_a_save_in_the_background_counts_for_as_long_as_the_loop_stood_still():
    lines = [line("start", 1, 0.0, step=0), line("step", 1, 10.0, step=1, step_seconds=10.0)]
    lines += [line("save", 1, 13.0, step=1, stall=0.5, seconds=2.5)]  # written while step 2 is under way
    lines += [line("step", 1, 20.5, step=2, step_seconds=10.0)]
    found = goodput(lines)
    assert (found.steps, found.save, found.other) == (20, 0.5, 0)


def test_a_start_line_that_a_full_disk_swallowed_still_loses_the_steps_done_again():
    lines = [line("step", 1, 1.0 * step, step=step, step_seconds=1.0) for step in range(1, 6)]
    lines += [line("step", 2, 1.0, step=4, step_seconds=1.0)]
    found = goodput(lines)
    assert (found.lost_steps, found.attempts) == (2, 2)


def test_before_the_first_line_nothing_is_claimed():
    found = goodput([])
    assert found.goodput is None
    assert found.seconds == found.dollars == 0
    assert found.to_json()["goodput"] is None


ANY = st.none() | st.booleans() | st.integers(-5, 40) | st.floats() | st.text(max_size=3)
RECORDS = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            "event": st.sampled_from(["start", "step", "eval", "save", "guard", "stop", "lost", 3]),
            "attempt": st.integers(1, 3) | ANY,
            "action": st.sampled_from(["skip", "rollback", "warn"]),
            **dict.fromkeys(("up", "time", "step", "step_seconds", "seconds", "stall", "to", "price", "gpus"), ANY),
        },
    ),
    max_size=40,
)


@given(RECORDS)
def test_for_any_lines_the_kinds_are_not_negative_and_add_up(records):
    found = goodput(records)
    kinds = [getattr(found, kind) for kind in KINDS]
    assert min(kinds) >= 0
    assert sum(kinds) == pytest.approx(found.seconds)
    assert found.goodput is None or 0 <= found.goodput <= 1
    assert found.lost_steps >= 0
    assert found.dollars >= found.dollars_attempt >= 0


@st.composite
def killed_runs(draw):
    """A run over several attempts, each killed anywhere and resumed at the newest save; what truly survived."""
    lines, done, saved, truth = [], {}, 0, 0.0
    for attempt in range(1, draw(st.integers(1, 4)) + 1):
        done = {step: seconds for step, seconds in done.items() if step <= saved}
        up = draw(st.floats(0, 50))
        lines.append(line("start", attempt, up, step=saved))
        truth += up
        for step in range(saved + 1, saved + 1 + draw(st.integers(0, 12))):
            seconds = draw(st.floats(0.5, 3))
            up += seconds
            truth += seconds
            done[step] = seconds
            lines.append(line("step", attempt, up, step=step, step_seconds=seconds))
            if draw(st.booleans()):
                stall = draw(st.floats(0, 2))
                up += stall
                truth += stall
                saved = step
                lines.append(line("save", attempt, up, step=step, stall=stall))
    return lines, sum(done.values()), truth


@given(killed_runs())
def test_the_surviving_steps_of_killed_runs_are_found(case):
    lines, surviving, seconds = case
    found = goodput(lines)
    assert found.seconds == pytest.approx(seconds)
    assert found.steps <= surviving + 1e-6
    assert found.steps + found.compile >= surviving - 1e-6, "the first step of an attempt is in part compiling"
    assert found.other == pytest.approx(0, abs=1e-6)


@given(killed_runs(), st.integers(0, 200))
def test_adding_line_by_line_is_the_same_as_all_at_once(case, place):
    lines, _, _ = case
    tally = Tally()
    for number, record in enumerate(lines):
        if number == place:
            tally.result()
        tally.add(record)
    assert tally.result() == goodput(lines)
