"""The trainer's benchmark measures what its rows say, and its committed results are its own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench import trainer as bench

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_every_row_is_measured_in_a_short_run(tmp_path):
    out = tmp_path / "trainer.json"
    assert bench.main(["--rounds", "1", "--steps", "2", "--text-mb", "1", "--out", str(out)]) in (0, 1)
    rows = json.loads(out.read_text())["rows"]
    assert len(rows) == 6 and all(row["met"] is not None for row in rows)
    assert all(value > 0 for row in rows for values in row["samples"].values() for value in values)


def test_the_text_is_real_and_as_large_as_asked(tmp_path):
    folder = bench.collect(tmp_path / "text", 200_000)
    texts = [path.read_text(encoding="utf-8") for path in folder.iterdir()]
    assert sum(len(text.encode()) for text in texts) >= 200_000
    assert any("import" in text for text in texts)


def test_the_committed_results_say_on_what_and_how_they_were_made():
    result = json.loads((ROOT / "bench/results/trainer.json").read_text())
    assert result["command"].startswith("bench/trainer.py") and result["machine"]["cores"]
    for row in result["rows"]:
        assert row["met"] in (True, False) and row["reach"] and row["samples"]


def test_the_page_shows_the_committed_figures():
    page = (ROOT / "docs/trainer.md").read_text(encoding="utf-8")
    for row in json.loads((ROOT / "bench/results/trainer.json").read_text())["rows"]:
        assert f"| {row['shown']} |" in page, row["what"]
