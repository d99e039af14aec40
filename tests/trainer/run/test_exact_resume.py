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

from trainer.checkpoint import folder as folders
from trainer.checkpoint import manifest, verify
from trainer.metrics import log
from trainer.run.folder import losses
from trainer.run.stop import StopRequest

pytestmark = pytest.mark.usefixtures("torch")

SHAPE = ("model.layers=1", "model.width=32", "model.heads=2", "model.context=32", "model.dropout=0.1")
FLAGS = [word for text in (*SHAPE, "train.batch=4", "train.device=cpu") for word in ("--set", text)]


def train(config, folder) -> int:
    from trainer.run.loop import train

    return train(config, folder, StopRequest())


def test_sigkill_at_random_moments_changes_no_loss_and_no_weight(torch, weights_of, environment, tmp_path, small):
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
    one, other = weights_of(whole, 200), weights_of(broken, 200)
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
    assert f"resuming from {folders.name_of(last)}" in capsys.readouterr().err
    train(small, tmp_path / "whole")
    assert losses(folder) == losses(tmp_path / "whole")


def test_a_damaged_newest_checkpoint_falls_back_loudly_and_ends_the_same(tmp_path, small, capsys):
    small.train.steps = 20
    train(small, tmp_path / "run")
    damaged = tmp_path / "run" / "checkpoints" / folders.name_of(20) / "weights-00000-00.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:-1])
    small.train.steps = 30
    capsys.readouterr()
    assert train(small, tmp_path / "run") == 0
    errors = capsys.readouterr().err
    assert "WARNING: checkpoint step-00000020 is damaged (weights-00000-00.safetensors has" in errors
    assert "resuming from step-00000010" in errors
    train(small, tmp_path / "whole")
    assert losses(tmp_path / "run") == losses(tmp_path / "whole")


def test_with_every_checkpoint_damaged_it_says_so_and_begins_again(tmp_path, small, capsys):
    small.train.steps = 10
    train(small, tmp_path)
    (tmp_path / "checkpoints" / folders.name_of(10) / "manifest.json").unlink()
    capsys.readouterr()
    assert train(small, tmp_path) == 0
    assert "starting from step 0" in capsys.readouterr().err
    assert len(losses(tmp_path)) == 10


def test_the_time_limit_saves_and_exits_75(tmp_path, small):
    small.train.steps, small.limits.hours = 10**6, 0.2 / 3600
    assert train(small, tmp_path) == 75
    last = log.read(tmp_path / log.TRAINING)[-1]
    assert last["event"] == "stop" and last["reason"] == "the time limit"
    assert verify.fault(tmp_path / "checkpoints" / folders.name_of(last["step"])) is None


def test_a_finished_run_started_again_trains_nothing(tmp_path, small):
    small.train.steps = 3
    assert train(small, tmp_path) == train(small, tmp_path) == 0
    assert sum(line["event"] == "step" for line in log.read(tmp_path / log.TRAINING)) == 3


def test_a_stage_may_take_other_micro_batches_after_a_resume(tmp_path, small):
    from trainer.config import Stage

    small.train.steps, small.curriculum = 2, [Stage(16, 4 * 32, 4), Stage(32)]
    assert train(small, tmp_path) == 0
    small.train.steps, small.curriculum = 4, [Stage(16, 4 * 32, 2), Stage(32, 0, 1)]
    assert train(small, tmp_path) == 0
    assert max(losses(tmp_path)) == 4


def test_a_measured_micro_batch_is_measured_again_for_other_checkpointing(tmp_path, small):
    for steps, checkpointing in ((1, "full"), (2, "none"), (3, "none")):
        small.train.steps, small.train.checkpointing = steps, checkpointing
        assert train(small, tmp_path) == 0
    measured = manifest.read(tmp_path / "checkpoints" / folders.name_of(3))["progress"]["micro"]
    assert len(measured) == 2 and set(measured.values()) == {4}


def test_with_another_number_of_ranks_the_masks_of_the_first_steps_do_not_come_again(torch):
    from trainer.run import chance

    chance.seed(7, 0)
    first = torch.rand(4)
    drawn = []
    for _ in range(2):
        chance.seed(7, 0)
        chance.renew(7, 5)
        drawn.append(torch.rand(4))
    assert torch.equal(*drawn), "they are still a function of seed and step"
    assert not torch.equal(drawn[0], first)


def test_the_generators_of_python_numpy_and_torch_go_on_exactly(torch):
    import numpy as np

    from trainer.run import chance

    chance.seed(7, 0)
    random.gauss(0, 1), np.random.randn()  # both keep a second value for the next call
    kept = chance.dump(False)
    expected = (random.gauss(0, 1), random.random(), np.random.randn(), np.random.rand(), torch.rand(4).tolist())
    chance.seed(8, 0)
    chance.restore(kept, False)
    found = (random.gauss(0, 1), random.random(), np.random.randn(), np.random.rand(), torch.rand(4).tolist())
    assert found == expected


def test_a_resumed_run_writes_the_very_same_files(tmp_path, small):
    small.train.steps = 20
    train(small, tmp_path / "whole")
    for steps in (10, 20):
        small.train.steps = steps
        train(small, tmp_path / "parts")
    one, other = (
        manifest.read(tmp_path / name / "checkpoints" / folders.name_of(20))["files"] for name in ("whole", "parts")
    )
    assert set(one) == {"weights-00000-00.safetensors", "optimizer-00000-00.safetensors", "random-00000.json"}
    assert one == other, "to the last bit of weights, optimizer and generators"


def test_a_lost_connection_ends_no_training(environment, tmp_path):
    folder = tmp_path / "run"
    flags = [*FLAGS, "--save-every", "0", "--steps", "100000"]
    process = subprocess.Popen(
        [sys.executable, "-m", "trainer", "train", "--run", str(folder), *flags],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    process.stdout.readline()
    process.send_signal(signal.SIGHUP)
    process.stdout.close()  # what the terminal was
    before = max(losses(folder), default=0)
    deadline = time.monotonic() + 30
    while max(losses(folder), default=0) < before + 20:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=30) == 75
