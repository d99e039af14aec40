"""The end of a container has no time: whether it is one of before the machine was started again, other lines tell."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from fleet.life.heard import Heard
from fleet.life.signs import read

BEFORE = datetime(2026, 11, 20, 12, tzinfo=UTC)
START = BEFORE + timedelta(hours=1)
OLD = [json.dumps({"event": "stop", "reason": "done", "time": BEFORE.timestamp()}), "keeper: the run ended with 75"]
BEGUN = [
    "keeper: instance 1 of Vast.ai can be ended from in here",
    "keeper: no provider's variables: at the end only this container stops, the machine needs somebody outside",
]


def end(*lines: str) -> tuple[str, int | None]:
    heard = Heard()
    for _ in range(2):  # a second reading changes nothing
        heard.hear(read(lines, heard.signs), START + timedelta(minutes=5))
        heard.started(START)
    return heard.signs.stop, heard.signs.exited


def test_an_end_after_lines_of_before_is_an_old_one():
    assert end(*OLD) == ("", None)


def test_an_end_beside_no_line_with_a_time_is_not_known_to_be_old():
    assert end("keeper: the run ended with 3") == ("", 3)


@pytest.mark.parametrize("begun", BEGUN)
def test_an_end_after_the_container_began_anew_is_its_own(begun: str):
    assert end(*OLD, begun, "setup: no GPU", "keeper: the run ended with 3; the machine is kept 15 minutes") == ("", 3)
    assert end(*OLD, begun, "setup: looking for GPUs") == ("", None)


def test_a_step_after_it_makes_the_next_end_a_new_one():
    step = json.dumps({"event": "step", "step": 5, "time": (START + timedelta(minutes=2)).timestamp()})
    assert end(*OLD, BEGUN[0], step, "keeper: the run ended with 2") == ("", 2)
