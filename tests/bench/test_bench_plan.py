"""The planner's benchmark measures what its rows say, on any file of such rows; its committed results are its own."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from bench import plan, table
from bench.rows import plan_batches, plan_counts, plan_speed, plan_whole
from bench.rows.plan_cases import Case, cases, contradiction, coverage, least_state
from bench.rows.published import PUBLIC

ROOT = Path(__file__).resolve().parents[2]
COMMITTED = json.loads(table.PLAN_RESULT.read_text(encoding="utf-8"))
KNOWN, LEFT_OUT = cases(PUBLIC)


def reach(what: str) -> dict:
    return next(row for row in COMMITTED["rows"] if row["what"].startswith(what))


def test_the_committed_accuracy_is_what_the_planner_has_today():
    now = plan.accuracy(KNOWN, LEFT_OUT)
    assert [(row.what, row.shown, row.met) for row in now] == [
        (row["what"], row["shown"], row["met"]) for row in COMMITTED["rows"][: len(now)]
    ]
    assert COMMITTED["left_out"] == [one.to_json() for one in LEFT_OUT]


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
    assert "**missed**" in table.plan_markdown({**COMMITTED, "left_out": [], "rows": [row]})


HEAD, *LINES = PUBLIC.read_text(encoding="utf-8").splitlines()
ODD = "someone/else:README.md,Grok-9,,,,2048,,H900,8,int3,who knows,4,12,,,,"
NO_FP8 = "llm-foundry:a,MPT-7b,,32,4096,2048,,A100 80GB,8,amp_fp8,FSDP FULL_SHARD; act_ckpt=full,8,3000,50,,,"


def aside(tmp_path: Path, lines: list[str]) -> Path:
    path = tmp_path / "aside.csv"
    path.write_text("\n".join([HEAD, *lines]) + "\n", encoding="utf-8")
    return path


def test_other_rows_of_the_same_kinds_are_judged_the_same_way(tmp_path: Path):
    """Rows kept aside, as a file with the same columns; those without a word here are told, none breaks it."""
    some = [line for line in LINES if "MPT-3b" in line or "torchtitan" in line or "litgpt" in line]
    out = tmp_path / "out.json"
    rows = aside(tmp_path, [*some, ODD, ODD, NO_FP8])
    script = [sys.executable, str(ROOT / "bench/plan.py"), "--rows", str(rows), "--runs", "0", "--out", str(out)]
    done = subprocess.run(script, cwd=ROOT, check=False, capture_output=True, text=True)
    told = json.loads(out.read_text(encoding="utf-8"))
    assert done.returncode == any(row["met"] is False for row in told["rows"]), done.stderr
    assert told["modelled"] + len(told["left_out"]) == len(some) + 3
    assert [one["name"] for one in told["left_out"]].count("Grok-9 on 8 H900, who knows") == 2
    assert {row["what"].split(",")[0] for row in told["rows"]} >= {"peak memory", "tokens/s per GPU"}


KINDS = {
    "litgpt alone, without any rate": [line for line in LINES if "litgpt" in line],
    "without any peak": [line for line in LINES if "MPT-1b" in line],
    "without any MFU": [line for line in LINES if "torchtune" in line],
    "one that is not modelled": [ODD],
    "none": [],
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_of_one_kind_of_rows_is_judged_by_what_it_has(kind: str, tmp_path: Path):
    known, left_out = cases(aside(tmp_path, KINDS[kind]))
    empty = [row for row in plan.accuracy(known, left_out) if row.shown == "no rows"]
    own = [row for row in empty if row.reach == "-" or "peak memory" not in row.what]  # plan_memory has its own tests
    assert own, "nothing was missing"
    assert {row.met for row in own} == {None}


def test_nothing_to_judge_is_neither_met_nor_missed(tmp_path: Path):
    runs = tmp_path / "runs.csv"
    runs.write_text(plan_whole.WHOLE.read_text(encoding="utf-8").splitlines()[0] + "\n", encoding="utf-8")
    rows = [*plan_counts.rows([])[1:], *plan_speed.rows([]), *plan_whole.rows(runs), coverage([], [])]
    assert {(row.shown, row.met) for row in rows} == {("no rows", None)}


def test_a_row_on_a_gpu_without_its_precision_is_left_out_with_that_reason(tmp_path: Path):
    known, [left] = cases(aside(tmp_path, [NO_FP8]))
    assert known == []
    assert left.why == "NVIDIA A100 SXM4 80GB has no hardware for fp8-delayed"
    assert left.case is None


def test_rows_of_the_same_words_keep_names_of_their_own(tmp_path: Path):
    known, _ = cases(aside(tmp_path, [LINES[1]] * 3))
    assert len({case.name for case in known}) == 3


def test_coverage_counts_every_row_of_the_file():
    assert coverage(KNOWN, LEFT_OUT).shown == f"{len(KNOWN)} of {len(LINES)}"


def phi() -> Case:
    [case] = [one.case for one in LEFT_OUT if one.case]
    return case


def test_a_row_is_impossible_when_parameters_times_bytes_are_more_than_its_peak():
    """3,821,079,552 parameters in bf16 with AdamW: 2 of weights, 2 of gradients, 4 of moments each; a card of 24 GB."""
    case = phi()
    assert case.row.model == "Phi-3-mini-4k"
    assert least_state(case.row, case.setup) == 8 * 3_821_079_552
    assert "the state alone is 30.6 GB, and its peak 17.0 GB" in contradiction(case.row, case.setup)
    assert contradiction(replace(case.row, memory=31e9), case.setup) == ""


@pytest.mark.parametrize(
    "otherwise",
    [{"optimizer": "paged-adamw8bit"}, {"offload": "optimizer"}, {"gpus": 4, "zero": 3}, {"tensor": 4, "gpus": 4}],
    ids=str,
)
def test_a_row_whose_state_is_elsewhere_is_not_impossible(otherwise: dict):
    case = phi()
    assert contradiction(case.row, replace(case.setup, **otherwise)) == ""


def test_the_error_with_the_impossible_rows_is_told_beside_the_one_without():
    with_all, without = plan.peaks_of_all([*KNOWN, phi()]), plan.peaks_of_all(KNOWN)
    assert with_all.what.startswith("peak memory, 21 rows") and without.what.startswith("peak memory, 20 rows")
    assert with_all.met is None
    assert float(with_all.shown[:-1]) > float(without.shown[:-1])


def test_a_missed_reach_is_the_exit_code_and_the_result_is_written_first(tmp_path: Path):
    slow = replace_cell(next(line for line in LINES if "MPT-1b" in line), 12, "1")
    rows, out = aside(tmp_path, [slow]), tmp_path / "out.json"
    assert plan.main(["--rows", str(rows), "--runs", "0", "--out", str(out)]) == 1
    missed = [row["what"] for row in json.loads(out.read_text(encoding="utf-8"))["rows"] if row["met"] is False]
    assert "tokens/s per GPU, 1 rows" in missed


def replace_cell(line: str, column: int, text: str) -> str:
    cells = next(csv.reader([line]))
    cells[column] = text
    made = io.StringIO()
    csv.writer(made, lineterminator="").writerow(cells)
    return made.getvalue()


def test_other_rows_are_printed_and_never_kept_in_the_place_of_ours(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(plan, "OUT", tmp_path / "ours.json")
    plan.main(["--rows", str(aside(tmp_path, [ODD])), "--runs", "0"])
    whole = tmp_path / "whole.csv"
    whole.write_bytes(plan_whole.WHOLE.read_bytes())
    plan.main(["--whole", str(whole), "--runs", "0"])
    assert not (tmp_path / "ours.json").exists()
    assert plan.options([]).out == tmp_path / "ours.json"


def test_a_file_that_cannot_be_read_is_wrong_input(tmp_path: Path, capsys):
    assert plan.main(["--rows", str(tmp_path / "absent.csv"), "--runs", "0"]) == 2
    (tmp_path / "odd.csv").write_text("a,b\n1,2\n", encoding="utf-8")
    assert plan.main(["--whole", str(tmp_path / "odd.csv"), "--runs", "0"]) == 2
    assert "odd.csv has no column name, model" in capsys.readouterr().err


def test_whole_runs_kept_aside_are_judged_too_and_one_without_a_word_is_told(tmp_path: Path):
    head, first, *_ = plan_whole.WHOLE.read_text(encoding="utf-8").splitlines()
    path = tmp_path / "runs.csv"
    path.write_text("\n".join([head, first, first.replace("nanochat-d24", "nobody-7b")]) + "\n", encoding="utf-8")
    [row] = plan_whole.rows(path)
    assert row.what == "cost to finish of 1 whole published runs"
    assert [note for note in row.notes if "unknown model `nobody-7b`" in note]
    assert not set(plan_whole.CAVEATS) & set(row.notes)


def test_what_our_whole_runs_assume_is_told():
    notes = " ".join(plan_whole.rows()[0].notes)
    assert "tokens are derived from its own rate" in notes
    assert "checkpointing, sharding and micro-batch are assumed" in notes


def test_a_count_is_exact_to_the_digits_that_were_published():
    assert plan_counts.same(6_658_859_008, 6_700_000_000)
    assert not plan_counts.same(6_658_859_008, 6_800_000_000)
    assert not plan_counts.same(6_658_859_008, 6_658_859_000)


def test_the_reaches_of_accuracy_are_met_but_for_what_the_page_says():
    missed = [row["what"] for row in COMMITTED["rows"] if row["met"] is False]
    assert [what for what in missed if not what.startswith(("cost to finish", "one plan", "batch table"))] == []
    assert reach("published out-of-memory cases")["shown"] == "3 of 3 refused"
