"""What the output of a run tells of it, whatever else stands in there."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from fleet.life.signs import Signs, read

STEP = {"event": "step", "time": 1795278688.346, "step": 4, "loss": 5.4, "tokens_per_s": 27271.8}


def lines(*records: object) -> list[str]:
    return [json.dumps(record) for record in records]


def test_the_newest_step_counts_with_its_time_and_rate():
    signs = read(lines({**STEP, "step": 3}, STEP))
    assert (signs.step, signs.loss, signs.tokens_per_second) == (4, 5.4, 27271.8)
    assert signs.at == datetime.fromtimestamp(1795278688.346, UTC)
    assert signs.training


def test_a_line_with_a_prefix_of_the_log_is_read_too():
    assert read([f"2026-11-20T10:02:03Z {json.dumps(STEP)}"]).step == 4


def test_a_stop_ends_it_and_a_later_step_begins_it_again():
    stopped = read(lines(STEP, {"event": "stop", "step": 4, "reason": "hours"}))
    assert stopped.stop == "hours"
    assert not stopped.training
    assert read(lines({**STEP, "step": 5}), stopped).training


def test_a_save_that_failed_is_none():
    assert read(lines({"event": "save", "step": 4, "error": "disk full"})).saved is None
    assert read(lines({"event": "save", "step": 4, "checkpoint": "step-4"})).saved == 4


@given(
    st.lists(
        st.one_of(
            st.text(max_size=80),
            st.recursive(
                st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
                lambda inner: (
                    st.lists(inner, max_size=3)
                    | st.dictionaries(
                        st.sampled_from(["event", "step", "time", "loss", "tokens_per_s", "reason", "error"]),
                        inner,
                        max_size=5,
                    )
                ),
                max_leaves=8,
            ).map(json.dumps),
        ),
        max_size=6,
    )
)
def test_no_output_breaks_the_reading(output: list[str]):
    assert isinstance(read(output), Signs)


@given(st.integers(), st.sampled_from(["step", "save"]))
def test_a_step_is_a_whole_number_from_zero_up(step: int, event: str):
    signs = read(lines({"event": event, "step": step}))
    assert (signs.step if event == "step" else signs.saved) == (step if step >= 0 else None)
