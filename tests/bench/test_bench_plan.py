"""The planner's benchmark measures what its rows say, on any file of such rows; its committed results are its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from bench import table
from bench.rows import plan_batches, plan_counts, plan_memory, plan_speed, plan_whole
from bench.rows.plan_cases import cases
from bench.rows.published import PUBLIC

ROOT = Path(__file__).resolve().parents[2]
COMMITTED = json.loads(table.PLAN_RESULT.read_text(encoding="utf-8"))
KNOWN, LEFT_OUT = cases(PUBLIC)


def reach(what: str) -> dict:
    return next(row for row in COMMITTED["rows"] if row["what"].startswith(what))


def test_the_committed_accuracy_is_what_the_planner_has_today():
    now = [
        *plan_counts.rows(KNOWN),
        *plan_memory.rows(KNOWN),
        *plan_speed.rows(KNOWN),
        *plan_whole.rows(),
    ]
    assert [(row.what, row.shown, row.met) for row in now] == [
        (row["what"], row["shown"], row["met"]) for row in COMMITTED["rows"][: len(now)]
    ]
    assert COMMITTED["left_out"] == LEFT_OUT


def test_the_committed_batch_table_is_what_the_planner_has_today():
    assert json.loads(json.dumps(plan_batches.table())) == COMMITTED["batches"]


def test_the_pages_hold_the_committed_tables():
    text = table.PLANNING.read_text(encoding="utf-8")
    assert "<!-- plan -->" in text and "<!-- batches -->" in text
    assert text == table.planning_filled(text, COMMITTED)
    seeds = table.SEEDS.read_text(encoding="utf-8")
    assert "<!-- seeds -->" in seeds
    assert seeds == table.put(seeds, "seeds", table.seeds_markdown(COMMITTED))


def test_a_reach_that_was_missed_is_told_as_missed():
    row = {**COMMITTED["rows"][0], "met": False}
    assert "**missed**" in table.plan_markdown({**COMMITTED, "rows": [row]})


def test_other_rows_of_the_same_kinds_are_judged_the_same_way(tmp_path: Path):
    """Rows kept aside, as a file with the same columns; those without a word here are told, none breaks it."""
    head, *lines = PUBLIC.read_text(encoding="utf-8").splitlines()
    some = [line for line in lines if "MPT-3b" in line or "torchtitan" in line or "litgpt" in line]
    odd = "someone/else:README.md,Grok-9,,,,2048,,H900,8,int3,who knows,4,12,,,,"
    rows = tmp_path / "aside.csv"
    rows.write_text("\n".join([head, *some, odd]) + "\n", encoding="utf-8")
    out = tmp_path / "out.json"
    script = [sys.executable, str(ROOT / "bench/plan.py"), "--rows", str(rows), "--runs", "0", "--out", str(out)]
    subprocess.run(script, cwd=ROOT, check=True, capture_output=True)
    told = json.loads(out.read_text(encoding="utf-8"))
    assert told["modelled"] + len(told["left_out"]) == len(some) + 1
    assert any("Grok-9" in name for name in told["left_out"])
    assert {row["what"].split(",")[0] for row in told["rows"]} >= {"peak memory", "tokens/s per GPU"}


def test_the_reaches_of_accuracy_are_met_but_for_what_the_page_says():
    missed = [row["what"] for row in COMMITTED["rows"] if row["met"] is False]
    assert [what for what in missed if not what.startswith(("cost to finish", "one plan", "batch table"))] == []
    assert reach("published out-of-memory cases")["shown"] == "3 of 3 refused"
