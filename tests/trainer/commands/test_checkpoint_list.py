"""`checkpoints`, `checkpoints list` and `checkpoints best`: what there is, and what is wrong with the question."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import time

import pytest

from tests.trainer.commands.plain import WEIGHTS, at_store, checkpoint, flip, steps
from trainer.checkpoint import thin


@pytest.fixture
def run(tmp_path):
    made = tmp_path / "run"
    checkpoint(made, 10, best=(3.5, 10))
    checkpoint(made, 20, best=(3.25, 20))
    checkpoint(made, 30, best=(3.25, 20))
    return made


def rows(said):
    return {row["checkpoint"]: row for row in json.loads(said.out)["checkpoints"]}


def test_a_table_has_a_line_for_each_newest_first(command, run):
    said = command("checkpoints", run)
    head, *lines = said.out.splitlines()
    assert head.split() == ["checkpoint", "size", "val", "loss", "engine", "state", "pointers", "age"]
    assert [line.split()[0] for line in lines] == ["step-00000030", "step-00000020", "step-00000010"]
    assert "ddp x 2" in lines[0] and "latest" in lines[0] and "whole" in lines[0]
    assert "3.2500" in lines[1] and "best" in lines[1] and "3.5000" in lines[2]


def test_json_is_one_document_with_the_numbers(command, run):
    found = rows(command("checkpoints", "list", "--run", run, "--json"))
    row = found["step-00000020"]
    assert (row["step"], row["tokens"], row["val_loss"], row["state"]) == (20, 2000, 3.25, "whole")
    assert row["bytes"] == sum(path.stat().st_size for path in (run / "checkpoints/step-00000020").iterdir())
    assert row["pointers"] == ["best"] and found["step-00000030"]["val_loss"] is None


def test_age_is_that_of_the_weights_also_after_the_optimizer_was_dropped(command, run):
    old = run / "checkpoints/step-00000010"
    for path in old.iterdir():
        os.utime(path, (time.time() - 7300, time.time() - 7300))
    thin.thin(old)
    assert command("checkpoints", run).out.splitlines()[-1].endswith("2.0 h")


def test_losses_of_the_log_are_shown_too(command, run):
    line = {"event": "eval", "step": 30, "val_loss": 4.5}
    (run / "training_metrics.jsonl").write_text(json.dumps(line) + "\n")
    assert rows(command("checkpoints", run, "--json"))["step-00000030"]["val_loss"] == 4.5


def test_what_is_damaged_weights_alone_or_at_the_store_is_told(command, run):
    (run / "checkpoints/step-00000030" / WEIGHTS).write_bytes(b"short")
    thin.thin(run / "checkpoints/step-00000010")
    at_store(run, 20)
    said = command("checkpoints", run)
    assert "damaged" in said.out and f"step-00000030: {WEIGHTS} has 5 bytes, not 1500" in said.out
    assert "whole, at the store" in said.out and "weights only" in said.out


def test_one_that_is_being_written_is_told_from_one_that_a_kill_left(command, run):
    (run / "checkpoints/.staging-step-00000040-77").mkdir()
    (run / "checkpoints/.incoming-step-00000050").mkdir()
    found = rows(command("checkpoints", run, "--json"))
    assert found["step-00000040"]["state"] == "partial" and "killed" in found["step-00000040"]["why"]
    assert "download" in found["step-00000050"]["why"]
    with (run / "trainer.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert rows(command("checkpoints", run, "--json"))["step-00000040"]["state"] == "being written"


def test_a_store_shows_the_same_and_what_is_half_sent(command, run, tmp_path):
    store = tmp_path / "store"
    shutil.copytree(run, store)
    (store / "checkpoints/step-00000030/manifest.json").unlink()
    (store / "checkpoints/latest").unlink()
    found = rows(command("checkpoints", "--remote", f"file://{store}", "--json"))
    assert found["step-00000030"]["state"] == "partial" and "never sent" in found["step-00000030"]["why"]
    assert found["step-00000020"]["pointers"] == ["latest", "best"]
    assert found["step-00000020"]["path"] == f"file://{store}/checkpoints/step-00000020"


def test_no_checkpoint_yet_is_an_answer(command, tmp_path):
    said = command("checkpoints", tmp_path)
    assert (said.code, said.out) == (0, f"{tmp_path} has no checkpoint yet\n")
    assert json.loads(command("checkpoints", tmp_path, "--json").out)["checkpoints"] == []
    assert command("checkpoints", "--remote", tmp_path / "empty").code == 0


def test_best_prints_the_folder_for_scripts(command, run):
    said = command("checkpoints", "best", run)
    assert (said.code, said.out) == (0, f"{run}/checkpoints/step-00000020\n")
    (run / "checkpoints/best").unlink()  # the manifests know it as well
    assert json.loads(command("checkpoints", "best", run, "--json").out)["val_loss"] == 3.25


def test_best_of_a_store_is_its_url(command, run):
    said = command("checkpoints", "best", "--remote", f"file://{run}")
    assert said.out == f"file://{run}/checkpoints/step-00000020\n"


def test_no_best_or_a_damaged_one_ends_with_1(command, run, tmp_path):
    checkpoint(tmp_path / "other", 10)
    said = command("checkpoints", "best", tmp_path / "other")
    assert said.code == 1 and "no best checkpoint" in said.err and "evaluate.every" in said.err
    (run / "checkpoints/step-00000020" / WEIGHTS).unlink()
    said = command("checkpoints", "best", run)
    assert said.code == 1 and said.out == "" and "is damaged" in said.err


@pytest.mark.parametrize("part", [["list"], ["verify"], ["best"], ["prune", "--yes"]])
def test_a_run_that_is_not_there_is_said_with_a_next_step(command, tmp_path, part):
    said = command("checkpoints", *part, tmp_path / "nope")
    assert said.code == 2 and said.out == ""
    assert said.err.splitlines()[0] == f"trainer: there is no run at {tmp_path}/nope: no such folder"
    assert "train --run" in said.err.splitlines()[1]


def test_a_mistyped_part_is_guessed(command):
    said = command("checkpoints", "verfy")
    assert said.code == 2 and "did you mean `checkpoints verify`?" in said.err


@pytest.mark.parametrize("part", ["verify", "best", "prune"])
def test_a_run_without_checkpoints_ends_with_1(command, tmp_path, part):
    said = command("checkpoints", part, tmp_path)
    assert said.code == 1 and said.out == "" and "no" in said.err and "checkpoint" in said.err


def test_a_file_or_a_checkpoint_is_no_run(command, run, tmp_path):
    (tmp_path / "file").touch()
    assert "is a file" in command("checkpoints", tmp_path / "file").err
    said = command("checkpoints", run / "checkpoints/step-00000010")
    assert said.code == 2 and f"give its run: {run}" in said.err
    assert command("checkpoints", run, "--run", run).code == 2


def test_the_checkpoints_folder_itself_means_its_run(command, run):
    assert command("checkpoints", run / "checkpoints").out.count("step-") == 3


def test_a_folder_that_cannot_be_read_is_an_error_of_the_outside(command, run, tmp_path):
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "checkpoints").symlink_to("checkpoints")  # a loop
    said = command("checkpoints", broken)
    assert said.code == 3 and "cannot read" in said.err and "mount" in said.err
    (broken / "checkpoints").unlink()
    (broken / "checkpoints").symlink_to("unmounted")
    assert command("checkpoints", broken).code == 3


@pytest.mark.parametrize("part", [["list"], ["verify"], ["best"], ["prune", "--remote-keep", "2"]])
def test_an_unknown_kind_of_store_is_wrong_input(command, part):
    said = command("checkpoints", *part, "--remote", "gcs://bucket/run")
    assert said.code == 2 and said.out == "" and "did you mean gs://?" in said.err


def test_looking_changes_nothing(command, run):
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    for words in (["list"], ["best"], ["verify", "--all"], ["prune", "--keep", "1", "--dry-run"]):
        command("checkpoints", words[0], run, *words[1:])
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before
    flip(run / "checkpoints/step-00000030" / WEIGHTS)
    assert steps(run) == [30, 20, 10]


def test_another_checkpoint_of_that_name_at_the_store_is_not_this_one(command, run):
    at_store(run, 20)
    told = json.loads((run / "sync.json").read_text())
    told["seals"]["step-00000020"] = "0" * 64
    (run / "sync.json").write_text(json.dumps(told))
    assert "at the store" not in command("checkpoints", run).out
