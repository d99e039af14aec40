"""TensorBoard and Weights & Biases: really run, and never in training's way."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest

from trainer.config.schema import Metrics
from trainer.errors import TrainerError
from trainer.metrics.boards import Boards, flatten, open_boards
from trainer.metrics.wandb_board import run_id, without_key


class Kept:
    name = "kept"

    def __init__(self, fails=False):
        self.points, self.fails, self.closed = [], fails, False

    def add(self, step, numbers):
        if self.fails:
            raise ConnectionError("no route")
        self.points.append((step, numbers))

    def close(self):
        self.closed = True


def test_a_line_becomes_numbers_under_its_event():
    record = {
        "event": "performance",
        "attempt": 1,
        "time": 1.0,
        "up": 2.0,
        "step": 5,
        "mfu": {"bf16": 0.4, "fp8": None},
    }
    record |= {"peaks": {"bf16": {"tflops": 989.0, "name": "H100"}}, "reason": "x", "good": True, "many": [1, 2]}
    board = Kept()
    boards = Boards([board], print)
    boards.add(record)
    boards.add({"event": "sample", "gpus": [{"index": 0, "power_w": 300}]})
    assert board.points[0] == (
        5,
        {
            "performance/mfu/bf16": 0.4,
            "performance/peaks/bf16/tflops": 989.0,
            "performance/many/0": 1.0,
            "performance/many/1": 2.0,
        },
    )
    assert board.points[1][0] == 5, "a sample belongs to the newest step"
    assert dict(flatten({"loss": 1}, "train")) == {"train/loss": 1.0}


def test_a_board_that_fails_is_said_once_and_left_out():
    said, bad, good = [], Kept(fails=True), Kept()
    boards = Boards([bad, good], said.append)
    for step in range(3):
        boards.add({"event": "step", "step": step, "loss": 1.0})
    boards.close()
    assert len(good.points) == 3
    assert good.closed
    assert not bad.closed
    assert said == ["kept failed and is left out from here: ConnectionError: no route"]


def scalars(folder):
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    accumulator = reader.EventAccumulator(str(folder / "tensorboard"))
    accumulator.Reload()
    return {
        tag: [(point.step, point.value) for point in accumulator.Scalars(tag)] for tag in accumulator.Tags()["scalars"]
    }


def test_tensorboard_reads_what_was_written_and_a_resumed_run_hides_the_lost_steps(tmp_path):
    pytest.importorskip("tensorboard")
    settings = Metrics(tensorboard=True)
    for first, last, loss in ((0, 8, 3.0), (5, 7, 2.0)):
        boards = open_boards(settings, tmp_path, {}, first, print)
        for step in range(first + 1, last + 1):
            boards.add({"event": "step", "step": step, "loss": loss})
        boards.close()
    expected = [(step, 3.0) for step in range(1, 6)] + [(6, 2.0), (7, 2.0)]
    assert scalars(tmp_path) == {"train/loss": expected}


def test_what_is_missing_is_said_before_a_second_is_spent(tmp_path, monkeypatch):
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.setitem(sys.modules, "tensorboard.compat.proto.event_pb2", None)
    with pytest.raises(TrainerError, match="tensorboard is on") as caught:
        open_boards(Metrics(tensorboard=True), tmp_path, {}, 0, print)
    assert "pip install tensorboard" in caught.value.next_step
    pytest.importorskip("wandb")
    with pytest.raises(TrainerError, match="WANDB_API_KEY is not set"):
        open_boards(Metrics(wandb="online"), tmp_path, {}, 0, print)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(TrainerError, match="wandb is missing") as caught:
        open_boards(Metrics(wandb="offline"), tmp_path, {}, 0, print)
    assert "pip install wandb" in caught.value.next_step


def test_the_id_is_the_folders_and_the_key_stays_secret(monkeypatch):
    assert run_id("d24") == run_id("d24") != run_id("d32")
    assert len(run_id("d24")) == 16
    monkeypatch.setenv("WANDB_API_KEY", "k3y")
    assert without_key("bad key k3y") == "bad key ***"


RUN = """
import json, pathlib, sys, time
from trainer.config.schema import Metrics
from trainer.metrics.boards import open_boards
said = []
boards = open_boards(Metrics(wandb=sys.argv[2]), pathlib.Path(sys.argv[1]), {"train": {"steps": 3}}, 0, said.append)
slowest = 0.0
for step in range(1, 200):
    began = time.perf_counter()
    boards.add({"event": "step", "step": step, "loss": 1.0 / step})
    slowest = max(slowest, time.perf_counter() - began)
trained = time.perf_counter()
boards.close()
print(json.dumps({"said": said, "slowest": slowest}))
"""


def run_wandb(folder, environment, mode, **variables):
    own = {name: value for name, value in environment.items() if not name.startswith("WANDB_")}
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(folder), mode],
        env={**own, "WANDB_ERROR_REPORTING": "false", **variables},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1]), done


@pytest.mark.slow
def test_wandb_offline_really_runs_and_every_attempt_has_the_same_id(tmp_path, environment):
    pytest.importorskip("wandb")
    folder = tmp_path / "d24"
    folder.mkdir()
    for _ in range(2):
        found, _ = run_wandb(folder, environment, "offline", WANDB_MODE="offline")
        assert found["said"] == []
        assert found["slowest"] < 1, "the loop does not wait for it"
    runs = sorted(folder.glob("wandb/offline-run-*/*.wandb"))
    assert {path.name for path in runs} == {f"run-{run_id('d24')}.wandb"}
    assert b"train/loss" in runs[0].read_bytes()


@pytest.mark.slow
def test_a_wandb_server_that_is_not_there_does_not_stop_training(tmp_path, environment):
    pytest.importorskip("wandb")
    secret = "0123456789abcdef0123456789abcdef01234567"
    began = time.monotonic()
    found, done = run_wandb(
        tmp_path,
        environment,
        "online",
        WANDB_API_KEY=secret,
        WANDB_BASE_URL="http://127.0.0.1:9",
        WANDB_INIT_TIMEOUT="3",
    )
    assert time.monotonic() - began < 100
    assert found["slowest"] < 1
    assert any("W&B" in text for text in found["said"])
    assert secret not in done.stdout + done.stderr
