"""The figures people read are the figures that were measured."""

from __future__ import annotations

import json

import pytest

from bench import table


@pytest.mark.parametrize("path", table.PLACES, ids=lambda path: path.name)
def test_the_table_is_the_one_of_the_results(path):
    text = path.read_text(encoding="utf-8")
    assert "<!-- bench -->" in text
    assert text == table.filled(text, json.loads(table.RESULT.read_text(encoding="utf-8")))


def test_a_missed_reach_is_said():
    row = {"what": "a", "shown": "1 s", "against_shown": "-", "ratio_shown": "-", "reach": "under 1 s", "met": False}
    result = {"rows": [row], "machine": {"cores": 2, "cpu": "x"}, "base": {"size": 1}, "runs": 1, "against": None}
    assert "**missed**" in table.markdown({**result, "command": "bench/images.py"})
