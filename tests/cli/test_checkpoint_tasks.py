"""The checkpoint tasks: the trainer's commands under ./inv, with the tasks' errors and exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cli.checkpoints import given
from tests.trainer.commands.plain import OPTIMIZER, checkpoint, flip, steps

ROOT = Path(__file__).resolve().parents[2]
PARTS = ["verify", "pull", "best", "prune", "export", "diff"]


def inv(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "cli/program.py"), *map(str, arguments)]
    env = {name: value for name, value in os.environ.items() if not name.startswith("STOKER_")}
    return subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, env=env)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    made = tmp_path / "run"
    for step in (10, 20, 30):
        checkpoint(made, step, best=(3.0, 10))
    return made


def test_the_list_of_tasks_has_them_under_a_heading_of_their_own():
    listed = inv("--list").stdout.split("\nCheckpoints\n")[1].split("\n\n")[0]
    assert [line.split()[0] for line in listed.splitlines()] == [
        "checkpoints",
        *(f"checkpoints.{part}" for part in PARTS),
    ]


@pytest.mark.parametrize("part", PARTS)
def test_each_has_help(part: str):
    for words in ([f"checkpoints.{part}", "--help"], ["--help", f"checkpoints.{part}"]):
        done = inv(*words)
        assert done.returncode == 0 and "Options:" in done.stdout and f"checkpoints.{part}" in done.stdout


def test_list_verify_and_best_print_what_the_trainer_prints(run: Path):
    assert "step-00000030" in inv("checkpoints", "--run", run).stdout
    assert len(json.loads(inv("checkpoints", "--remote", f"file://{run}", "--json").stdout)["checkpoints"]) == 3
    assert inv("checkpoints.verify", "--run", run, "--all").stdout.count("whole") == 3
    assert inv("checkpoints.best", "--run", run).stdout == f"{run}/checkpoints/step-00000010\n"


def test_damage_ends_with_1(run: Path):
    flip(run / "checkpoints/step-00000030" / OPTIMIZER)
    done = inv("checkpoints.verify", "--run", run / "checkpoints/step-00000030")
    assert done.returncode == 1 and "damaged" in done.stdout


def test_prune_asks_for_yes_and_then_prunes(run: Path):
    asked = inv("checkpoints.prune", "--run", run, "--keep", "1")
    assert asked.returncode == 4 and asked.stderr.splitlines()[-1] == "  next: --yes to go on without being asked"
    assert inv("checkpoints.prune", "--run", run, "--keep", "1", "--yes").returncode == 0
    assert steps(run) == [30, 10]


def test_pull_and_diff_take_their_words(run: Path, tmp_path: Path):
    pulled = inv("checkpoints.pull", f"file://{run}", "--run", tmp_path / "new", "--step", "20")
    assert pulled.returncode == 0, pulled.stderr
    told = inv("checkpoints.diff", tmp_path / "new", run / "checkpoints/step-00000020", "--json")
    assert (json.loads(told.stdout)["facts"], json.loads(told.stdout)["files"]) == ([], [])


@pytest.mark.parametrize(
    ("command", "code", "what", "next_step"),
    [
        ("checkpoints --run nope", 2, "there is no run at nope", "train --run"),
        ("checkpoints --remote gcs://a/b", 2, "did you mean gs://?", "known are"),
        ("checkpoints.prune --keep 0", 2, "--keep is 0", "at least 1"),
        ("checkpoints.pull file:///nowhere --step x", 2, "'x'", "--help checkpoints.pull"),
        ("checkpoints.verfy", 2, "'checkpoints.verfy'", "did you mean checkpoints.verify?"),
        ("checkpoints.verify --al", 2, "'--al'", "did you mean --all?"),
        ("checkpoints.diff a", 2, "'b'", "./inv --help checkpoints.diff"),
        ("checkpoints.export nope out --shard-gb 0", 2, "--shard-gb is 0.0", "more than 0"),
    ],
)
def test_mistakes_are_told_in_two_lines(command: str, code: int, what: str, next_step: str):
    done = inv(*command.split())
    assert done.returncode == code and done.stdout == ""
    error, step = done.stderr.splitlines()
    assert error.startswith("error: ") and what in error
    assert step.startswith("  next: ") and next_step in step


def test_export_without_torch_says_what_to_install(tmp_path: Path, run: Path):
    (tmp_path / "torch.py").write_text("raise ModuleNotFoundError(\"No module named 'torch'\", name='torch')\n")
    command = [sys.executable, str(ROOT / "cli/program.py"), "checkpoints.export", str(run), str(tmp_path / "out")]
    env = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, env=env)
    assert done.returncode == 3
    assert done.stderr == "error: torch is not installed here\n  next: use the image, or pip install torch\n"


def test_flags_that_are_empty_are_left_out_and_values_may_begin_with_a_dash():
    assert given(["a"], {"keep": "", "dry_run": True, "json": False, "step": "-3"}) == ["a", "--dry-run", "--step=-3"]
