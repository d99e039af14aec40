"""Several ranks are one run: the same losses, one end, one checkpoint."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from trainer.checkpoint import folder as folders
from trainer.checkpoint import verify
from trainer.metrics import log
from trainer.run.folder import losses

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("torch")]

SHAPE = ("model.layers=2", "model.width=32", "model.heads=2", "model.context=32", "train.batch=8", "train.device=cpu")
FLAGS = [word for text in SHAPE for word in ("--set", text)]


def sets(*texts: str) -> list[str]:
    return [word for text in texts for word in ("--set", text)]


def test_one_two_and_four_ranks_and_every_engine_give_the_same_losses(trainer, tmp_path):
    common = [*FLAGS, "--steps", "12", *sets("evaluate.every=6")]
    ways = {
        "alone": ["--ranks", "1"],
        "ddp2": ["--ranks", "2"],
        "ddp4": ["--ranks", "4", *sets("train.micro_batch=1")],
        "zero0": ["--ranks", "2", *sets("parallel.engine=deepspeed")],
        "zero1": ["--ranks", "2", *sets("parallel.zero=1", "train.micro_batch=2")],
        "zero3": ["--ranks", "2", *sets("parallel.zero=3", "parallel.offload=both")],
    }
    starts, evaluations = {}, {}
    for name, flags in ways.items():
        done = trainer("train", "--run", str(tmp_path / name), *common, *flags)
        assert done.returncode == 0, f"{name}: {done.stderr}"
        found = log.read(tmp_path / name / log.TRAINING)
        starts[name] = next(line for line in found if line["event"] == "start")
        evaluations[name] = [line["val_loss"] for line in found if line["event"] == "eval"]
    alone = losses(tmp_path / "alone")
    assert alone[12] < alone[1] - 1, "it learns"
    for name in ways:
        assert losses(tmp_path / name) == pytest.approx(alone, abs=2e-4), name
        assert evaluations[name] == pytest.approx(evaluations["alone"], abs=2e-4), name
        assert starts[name]["parameters"] == starts["alone"]["parameters"]
    assert starts["zero3"]["zero"] == 3 and starts["zero3"]["gpus"] == 2


def test_sigterm_stops_all_ranks_at_one_step_and_the_same_command_goes_on(environment, trainer, tmp_path):
    folder = tmp_path / "run"
    flags = ["--ranks", "2", *FLAGS, *sets("model.dropout=0.1"), "--save-every", "0"]
    command = [sys.executable, "-m", "trainer", "train", "--run", str(folder), *flags, "--steps", "100000"]
    process = subprocess.Popen(
        command, env=environment, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    deadline = time.monotonic() + 60
    while not any(line["event"] == "step" for line in log.read(folder / log.TRAINING)):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 75, errors.decode()
    last = max(losses(folder))
    assert verify.fault(folder / "checkpoints" / folders.name_of(last)) is None
    more = ["--steps", str(last + 5)]
    assert trainer("train", "--run", str(folder), *flags, *more).returncode == 0
    assert trainer("train", "--run", str(tmp_path / "whole"), *flags, *more).returncode == 0
    assert losses(folder) == losses(tmp_path / "whole")


def test_a_rank_that_is_killed_ends_the_others_with_its_name_and_leaves_the_checkpoint(environment, trainer, tmp_path):
    folder = tmp_path / "run"
    flags = ["--ranks", "2", *FLAGS, "--steps", "100000", "--save-every", "5"]
    command = [sys.executable, "-m", "trainer", "train", "--run", str(folder), *flags]
    process = subprocess.Popen(
        command, env=environment, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    deadline = time.monotonic() + 60
    while not folders.found(folder / "checkpoints"):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(_rank(process.pid, 1), signal.SIGKILL)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 3 and b"rank 1" in errors and b"SIGKILL" in errors
    assert verify.newest_good(folder / "checkpoints", print) is not None


def test_a_batch_that_does_not_divide_is_one_clear_error(trainer, tmp_path):
    done = trainer("train", "--run", str(tmp_path / "run"), "--ranks", "2", *FLAGS, "--set", "train.batch=7")
    assert done.returncode == 2 and "7 does not divide over 2 ranks" in done.stderr and "Traceback" not in done.stderr


def test_under_torchrun_it_is_a_rank_like_any_other(environment, tmp_path):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"]
    done = subprocess.run(
        [*command, "--", "trainer", "train", "--run", str(tmp_path / "run"), *FLAGS, "--steps", "3"],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    start = next(line for line in log.read(tmp_path / "run" / log.TRAINING) if line["event"] == "start")
    assert start["gpus"] == 2 and len(losses(tmp_path / "run")) == 3
    assert json.loads((tmp_path / "run" / "config.json").read_text())["train"]["batch"] == 8


def _rank(launcher: int, rank: int) -> int:
    """The process that has this RANK among the launcher's children."""
    children = Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split()
    for child in children:
        if f"RANK={rank}".encode() in Path(f"/proc/{child}/environ").read_bytes().split(b"\0"):
            return int(child)
    raise AssertionError(f"no rank {rank} among {children}")
