"""`plan --run` tells what remains of a run by its own numbers, `plan --learn` lets it correct later plans."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.plan_command import Command

MODEL = {"family": "gpt2", "layers": 18, "width": 2048, "heads": 16, "context": 2048, "vocab": 50304}
STEP = 128 * 2048  # tokens
WORDS = (
    *("--layers", "18", "--width", "2048", "--heads", "16", "--batch", "128"),
    *("--gpu", "h100-sxm", "--gpu-count", "8", "--offline"),
)


def run_folder(folder: Path, seconds: float = 0.55, done: int = 20, wanted: int = 100, ended: str = "") -> Path:
    """As the trainer leaves it after `done` of `wanted` steps of so many seconds each."""
    folder.mkdir()
    config = {
        "model": MODEL,
        "train": {"batch": 128, "micro_batch": 16, "steps": wanted, "checkpointing": "none"},
        "parallel": {"engine": "auto", "offload": "none"},
        "precision": {"name": "bf16"},
        "limits": {"price": 2.5},
    }
    (folder / "config.json").write_text(json.dumps(config))
    begun = {"event": "start", "attempt": 1, "time": 1_800_000_000, "up": 1.0, "step": 0, "gpus": 8, "zero": 0}
    about = {"device": "NVIDIA H100 80GB HBM3", "precision": {"name": "bf16"}, "engine": "ddp", "price": 2.5}
    lines = [begun | about | {"parameters": 1_013_047_296, "steps": wanted}]
    for step in range(1, done + 1):
        at = {"time": 1_800_000_000 + step * seconds, "up": 1 + step * seconds, "step": step}
        lines.append({"event": "step", "attempt": 1, "step_seconds": seconds, "tokens": step * STEP} | at)
    if ended:
        lines.append({"event": "stop", "attempt": 1, "time": lines[-1]["time"], "up": 99.0, "reason": ended})
    (folder / "training_metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def test_what_remains_is_the_steps_left_at_the_pace_of_the_newest(plan: Command, tmp_path: Path):
    run = run_folder(tmp_path / "r")
    found = plan("--run", str(run), "--json").document["run"]
    assert found["steps"] == 80 and found["done"] == 0.2
    assert found["hours"]["value"] == pytest.approx(80 * 0.55 / 3600, rel=0.01)
    assert found["dollars"]["value"] == pytest.approx(80 * 0.55 / 3600 * 8 * 2.5, rel=0.01)
    dearer = plan("--run", str(run), "--price", "5", "--json").document["run"]
    assert dearer["dollars"]["value"] == pytest.approx(2 * found["dollars"]["value"])


def test_it_reads_well(plan: Command, tmp_path: Path):
    said = plan("--run", str(run_folder(tmp_path / "r")))
    assert said.code == 0
    assert "20.0%, 80 steps to go (21M tokens)" in said.out
    assert plan("--run", str(run_folder(tmp_path / "s", ended="signal"))).out.count("the same command goes on") == 1
    assert "finished  yes" in plan("--run", str(run_folder(tmp_path / "t", done=100, ended="done"))).out


def test_a_run_that_fell_silent_is_not_said_to_have_finished(plan: Command, tmp_path: Path, monkeypatch):
    run = run_folder(tmp_path / "r", seconds=2.0)
    monkeypatch.setattr("time.time", lambda: 1_800_000_000 + 60)
    assert "finishes " in plan("--run", str(run)).out
    monkeypatch.setattr("time.time", lambda: 1_800_000_000 + 86_400)
    said = plan("--run", str(run)).out
    assert "finished  no: nothing new since 20" in said and "the same command goes on" in said


def test_without_a_price_nothing_is_said_to_cost_nothing(plan: Command, tmp_path: Path):
    run = run_folder(tmp_path / "r")
    for path, own in ((run / "config.json", '"price": 2.5'), (run / "training_metrics.jsonl", '"price": 2.5')):
        path.write_text(path.read_text().replace(own, '"price": 0.0'))
    said = plan("--run", str(run))
    assert said.code == 0 and "$" not in said.out and "no price known: --price" in said.out
    found = plan("--run", str(run), "--json").document["run"]
    assert (found["dollars"], found["spent"]) == (None, None)
    priced = plan("--run", str(run), "--price", "5", "--json").document["run"]
    assert priced["dollars"]["value"] > 0 and priced["spent"] is None


def test_what_remains_can_be_told_and_learned_at_once(plan: Command, tmp_path: Path):
    run = run_folder(tmp_path / "r")
    said = plan("--run", str(run), "--learn", str(run))
    assert said.code == 0 and "kept: run r" in said.out and "80 steps to go" in said.out
    assert (tmp_path / "state" / "measured.jsonl").exists()


def test_a_run_that_has_not_begun_is_no_answer_yet(plan: Command, tmp_path: Path):
    run = run_folder(tmp_path / "r", done=0)
    assert plan("--run", str(run)).code == 1
    (run / "training_metrics.jsonl").write_text("")
    said = plan("--learn", str(run))
    assert (said.code, said.out) == (1, "") and "look again later" in said.err


def test_a_learned_run_corrects_the_plan_and_is_named(plan: Command, tmp_path: Path):
    before = plan(*WORDS, "--precision", "bf16", "--json").document
    run = run_folder(tmp_path / "slow-run", seconds=1.1)
    said = plan("--learn", str(run))
    assert said.code == 0 and "kept: run slow-run" in said.out
    after = plan(*WORDS, "--precision", "bf16", "--json").document
    rates = [one["chosen"]["speed"]["total"]["value"] for one in (before, after)]
    assert rates[1] < rates[0]
    assert not any("slow-run" in note for note in before["notes"])
    assert any("slow-run" in note for note in after["notes"])
    assert "slow-run" in after["chosen"]["speed"]["per_gpu"]["source"]


def test_learning_and_planning_go_together(plan: Command, tmp_path: Path):
    run = run_folder(tmp_path / "slow-run", seconds=1.1)
    said = plan(*WORDS, "--learn", str(run), "--json")
    assert said.code == 0 and "kept: run slow-run" in said.err
    assert any("slow-run" in note for note in said.document["notes"])


def test_what_was_learned_is_a_document_too(plan: Command, tmp_path: Path):
    found = plan("--learn", str(run_folder(tmp_path / "r")), "--json").document
    assert (found["learned"]["gpu"], found["learned"]["gpus"]) == ("h100-sxm", 8)
