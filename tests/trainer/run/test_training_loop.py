"""The loop learns, repeats itself to the bit, and refuses to mix two runs."""

from __future__ import annotations

import json
import math

import pytest

from trainer.errors import TrainerError
from trainer.metrics import log
from trainer.run.folder import losses, owned
from trainer.run.stop import StopRequest

pytestmark = pytest.mark.usefixtures("torch")


def train(config, folder) -> int:
    from trainer.run.loop import train

    return train(config, folder, StopRequest())


def test_loss_falls_on_the_baked_text(tmp_path, small):
    small.model.dropout, small.train.steps, small.train.batch = 0.0, 300, 8
    assert train(small, tmp_path) == 0
    by_step = losses(tmp_path)
    first, last = by_step[1], sum(by_step[step] for step in range(291, 301)) / 10
    assert abs(first - math.log(256)) < 0.2, "an untrained model knows nothing: ln(256) nats a byte"
    assert last < 2.6, "letter frequencies alone give about 2.9 nats on this text"


def test_the_same_config_gives_the_same_losses_and_the_seed_matters(tmp_path, small):
    small.train.steps = 8
    for name in ("a", "b"):
        train(small, tmp_path / name)
    small.train.seed += 1
    train(small, tmp_path / "c")
    assert losses(tmp_path / "a") == losses(tmp_path / "b") != losses(tmp_path / "c")


def test_metrics_say_step_loss_and_speed(tmp_path, small, capsys):
    small.train.steps, small.train.batch, small.train.micro_batch = 2, 12, 4
    train(small, tmp_path)
    lines = log.read(tmp_path / log.TRAINING)
    assert [line["event"] for line in lines] == ["start", "step", "step", "save", "stop"]
    step = lines[2]
    assert step["step"] == 2 and step["tokens"] == 2 * 3 * 4 * 32 and step["tokens_per_s"] > 0
    out = [json.loads(line)["event"] for line in capsys.readouterr().out.splitlines()]
    assert out == ["step", "step", "save", "stop"], "standard output tells what is acted upon from outside, no more"


def test_accumulated_micro_batches_are_one_large_batch(tmp_path, small):
    small.model.dropout, small.train.steps = 0.0, 3
    small.train.batch, small.train.micro_batch = 8, 8
    train(small, tmp_path / "large")
    small.train.micro_batch = 2
    train(small, tmp_path / "parts")
    large, parts = losses(tmp_path / "large"), losses(tmp_path / "parts")
    assert parts == pytest.approx(large, rel=1e-4)


def test_bf16_trains_close_to_fp32(tmp_path, small):
    small.model.dropout, small.train.steps = 0.0, 10
    train(small, tmp_path / "fp32")
    small.precision.name = "bf16"
    train(small, tmp_path / "bf16")
    fp32, bf16 = losses(tmp_path / "fp32"), losses(tmp_path / "bf16")
    assert bf16 != fp32 and bf16 == pytest.approx(fp32, rel=0.02)


def test_another_model_in_the_same_folder_is_refused_by_name(tmp_path, small):
    small.train.steps = 1
    train(small, tmp_path)
    small.model.width = 64
    with pytest.raises(TrainerError, match=r"model\.width was 32, is 64") as caught:
        train(small, tmp_path)
    assert caught.value.exit_code == 2


def test_a_second_trainer_in_one_folder_is_refused(tmp_path, small):
    with owned(tmp_path), pytest.raises(TrainerError, match="is training in") as caught:
        train(small, tmp_path)
    assert caught.value.exit_code == 4


def test_a_loss_that_is_no_number_stops_and_keeps_the_good_checkpoint(tmp_path, small):
    small.optim.lr, small.optim.clip, small.optim.warmup = 1e30, 0.0, 0
    small.checkpoint.every = 1
    with pytest.raises(TrainerError, match="the loss is nan") as caught:
        train(small, tmp_path)
    assert caught.value.exit_code == 1
    assert all(math.isfinite(loss) for loss in losses(tmp_path).values())


def test_a_rate_that_is_down_long_before_the_end_is_told(tmp_path, small, capsys):
    small.train.steps, small.optim.decay_steps = 4, 3
    train(small, tmp_path / "down")
    assert "the learning rate is down at step 3" in capsys.readouterr().err
    small.optim.decay_steps = 4
    train(small, tmp_path / "whole")
    assert "the learning rate is down" not in capsys.readouterr().err


def test_other_data_is_named_as_such_when_a_run_goes_on(tmp_path, small):
    small.train.steps = 2
    train(small, tmp_path / "run")
    (tmp_path / "other.txt").write_text("once upon a time " * 500)
    small.data.path = str(tmp_path / "other.txt")
    with pytest.raises(TrainerError, match=r"holds another run: data\.path was another text$"):
        train(small, tmp_path / "run")
