"""Killed, stopped or damaged: the same command goes on, and every loss is the uninterrupted run's, to the last bit."""

from __future__ import annotations

import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from trainer.metrics import log
from trainer.run import checkpoint
from trainer.run.folder import losses
from trainer.run.stop import StopRequest

pytestmark = pytest.mark.usefixtures("torch")

SHAPE = ("model.layers=1", "model.width=32", "model.heads=2", "model.context=32", "model.dropout=0.1")
FLAGS = [word for text in (*SHAPE, "train.batch=4", "train.device=cpu") for word in ("--set", text)]


def train(config, folder) -> int:
    from trainer.run.loop import train

    return train(config, folder, StopRequest())


def final_tensors(torch, folder: Path, step: int):
    return torch.load(folder / "checkpoints" / checkpoint.name_of(step) / "model.pt", weights_only=True)["parameters"]


def test_sigkill_at_random_moments_changes_no_loss_and_no_weight(torch, environment, tmp_path, small):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    common = [*FLAGS, "--steps", "200", "--save-every", "3"]
    small.train.steps, small.checkpoint.every = 200, 0
    train(small, whole)
    seed = random.SystemRandom().randrange(10**6)
    command = [sys.executable, str(Path(__file__).with_name("kill_lottery.py")), str(seed), "12"]
    done = subprocess.run(
        [*command, "train", "--run", str(broken), *common],
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    kills = int(re.findall(r"kills (\d+)", done.stderr)[-1])
    assert kills >= 3, f"seed {seed}: too few kills to show anything"
    # losses() itself refuses a step that gave two different losses in two attempts
    assert losses(broken) == losses(whole), f"seed {seed}"
    one, other = final_tensors(torch, whole, 200), final_tensors(torch, broken, 200)
    assert one and all(torch.equal(one[name], other[name]) for name in one), f"seed {seed}"


def test_sigterm_saves_exits_75_and_the_same_command_goes_on(environment, tmp_path, small, capsys):
    folder = tmp_path / "run"
    flags = [*FLAGS, "--save-every", "0", "--steps", "100000"]
    process = subprocess.Popen(
        [sys.executable, "-m", "trainer", "train", "--run", str(folder), *flags],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not any(line["event"] == "step" for line in log.read(folder / log.TRAINING)):
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 75 and "stopped by SIGTERM" in errors and "Traceback" not in errors
    last = max(losses(folder))
    small.train.steps, small.checkpoint.every = last + 5, 0
    assert train(small, folder) == 0
    assert f"resuming from {checkpoint.name_of(last)}" in capsys.readouterr().err
    train(small, tmp_path / "whole")
    assert losses(folder) == losses(tmp_path / "whole")


def test_a_damaged_newest_checkpoint_falls_back_loudly_and_ends_the_same(tmp_path, small, capsys):
    small.train.steps = 20
    train(small, tmp_path / "run")
    damaged = tmp_path / "run" / "checkpoints" / checkpoint.name_of(20) / "model.pt"
    damaged.write_bytes(damaged.read_bytes()[:-1])
    small.train.steps = 30
    capsys.readouterr()
    assert train(small, tmp_path / "run") == 0
    errors = capsys.readouterr().err
    assert "WARNING: checkpoint step-00000020 is damaged (model.pt has" in errors
    assert "resuming from step-00000010" in errors
    train(small, tmp_path / "whole")
    assert losses(tmp_path / "run") == losses(tmp_path / "whole")


def test_with_every_checkpoint_damaged_it_says_so_and_begins_again(tmp_path, small, capsys):
    small.train.steps = 10
    train(small, tmp_path)
    (tmp_path / "checkpoints" / checkpoint.name_of(10) / "manifest.json").unlink()
    capsys.readouterr()
    assert train(small, tmp_path) == 0
    assert "starting from step 0" in capsys.readouterr().err
    assert len(losses(tmp_path)) == 10


def test_the_time_limit_saves_and_exits_75(tmp_path, small):
    small.train.steps, small.limits.hours = 10**6, 0.2 / 3600
    assert train(small, tmp_path) == 75
    last = log.read(tmp_path / log.TRAINING)[-1]
    assert last["event"] == "stop" and last["reason"] == "the time limit"
    assert checkpoint.fault(tmp_path / "checkpoints" / checkpoint.name_of(last["step"])) is None


def test_a_finished_run_started_again_trains_nothing(tmp_path, small):
    small.train.steps = 3
    assert train(small, tmp_path) == train(small, tmp_path) == 0
    assert sum(line["event"] == "step" for line in log.read(tmp_path / log.TRAINING)) == 3
