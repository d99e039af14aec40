"""The figures people read are the figures that were measured."""

from __future__ import annotations

import json

import pytest

from bench import table
from bench.rows.row import Row


@pytest.mark.parametrize("path", table.PLACES, ids=lambda path: path.name)
def test_the_table_is_the_one_of_the_results(path):
    text = path.read_text(encoding="utf-8")
    assert "<!-- bench -->" in text
    assert text == table.filled(text, json.loads(table.RESULT.read_text(encoding="utf-8")))


def test_a_missed_reach_is_said():
    row = {"what": "a", "shown": "1 s", "against_shown": "-", "ratio_shown": "-", "reach": "under 1 s", "met": False}
    result = {"rows": [row], "machine": {"cores": 2, "cpu": "x"}, "base": {"size": 1}, "runs": 1, "against": None}
    assert "**missed**" in table.markdown({**result, "command": "bench/images.py"})


def test_the_page_of_resuming_shows_the_committed_figures_or_none():
    text = table.RESUME_PLACE.read_text(encoding="utf-8")
    (block,) = table.RESUME_BLOCK.findall(text)
    if not table.RESUME_RESULT.is_file():
        assert "|" not in block, "figures without the results that they come from"
        return
    result = json.loads(table.RESUME_RESULT.read_text(encoding="utf-8"))
    assert text == table.resume_filled(text, result)
    assert block.count("\n| ") == 1 + len(result["rows"])


def test_rows_of_resuming_become_lines_with_what_they_were_held_against():
    rows = [
        Row("stall per save", "at most 5%", True, "1.5 ms", "40 ms", 0.04),
        Row("kills | of all", "bit-equal", False, "199 of 200"),
    ]
    result = {
        "command": "bench/resume.py",
        "machine": {"cores": 2, "cpu": "x"},
        "seconds": {"speed": 100.0, "lottery": 500.0},
        "rows": [row.to_json() for row in rows],
    }
    told = table.resume_filled("before\n<!-- resume -->\nold\n<!-- /resume -->\nafter", result)
    assert "| stall per save | 1.5 ms | 40 ms (0.04x) | at most 5% |" in told
    assert "| kills / of all | 199 of 200 | - | bit-equal (**missed**) |" in told
    assert "10 minutes" in told and "old" not in told
    assert told == table.resume_filled(told, result)


def test_the_page_of_providers_shows_the_committed_proofs():
    text = table.PROVIDERS.read_text(encoding="utf-8")
    result = json.loads(table.FLEET_RESULT.read_text(encoding="utf-8"))
    assert text == table.put(text, "fleet", table.fleet_markdown(result))
    assert all(f"| {row['what']} | {row['shown']} |" in text for row in result["rows"])
