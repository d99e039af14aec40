"""The loop learns, repeats itself to the bit, and refuses to mix two runs."""

from __future__ import annotations

import math

import pytest

from trainer.errors import TrainerError
from trainer.run import losses, owned, read_metrics
from trainer.stop import StopRequest

pytestmark = pytest.mark.usefixtures("torch")


def train(config, folder) -> int:
    from trainer.loop import train

    return train(config, folder, StopRequest())


def test_loss_falls_on_the_baked_text(tmp_path, small):
    small.model.dropout, small.train.steps, small.train.micro_batch = 0.0, 150, 8
    assert train(small, tmp_path) == 0
    by_step = losses(tmp_path)
    first, last = by_step[1], sum(by_step[step] for step in range(141, 151)) / 10
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
    small.train.steps, small.train.accumulation = 2, 3
    train(small, tmp_path)
    lines = read_metrics(tmp_path)
    assert [line["event"] for line in lines] == ["start", "step", "step", "save", "stop"]
    step = lines[2]
    assert step["step"] == 2 and step["tokens"] == 2 * 3 * 4 * 32 and step["tokens_per_s"] > 0
    assert len(capsys.readouterr().out.splitlines()) == 2, "standard output holds the step lines alone"


def test_accumulated_micro_batches_are_one_large_batch(tmp_path, small):
    small.model.dropout, small.train.steps = 0.0, 3
    small.train.micro_batch, small.train.accumulation = 8, 1
    train(small, tmp_path / "large")
    small.train.micro_batch, small.train.accumulation = 2, 4
    train(small, tmp_path / "parts")
    large, parts = losses(tmp_path / "large"), losses(tmp_path / "parts")
    assert parts == pytest.approx(large, rel=1e-4)


def test_bf16_trains_close_to_fp32(tmp_path, small):
    small.model.dropout, small.train.steps = 0.0, 10
    train(small, tmp_path / "fp32")
    small.train.precision = "bf16"
    train(small, tmp_path / "bf16")
    fp32, bf16 = losses(tmp_path / "fp32"), losses(tmp_path / "bf16")
    assert bf16 != fp32 and bf16 == pytest.approx(fp32, rel=0.02)


def test_the_schedule_warms_up_and_comes_down():
    from trainer.config import Optim
    from trainer.loop import learning_rate

    optim = Optim(lr=1.0, min_lr=0.1, warmup=10, decay_steps=110)
    assert [learning_rate(step, optim) for step in (0, 9, 10)] == [0.1, 1.0, 1.0]
    assert learning_rate(60, optim) == pytest.approx(0.55)
    assert learning_rate(110, optim) == learning_rate(9999, optim) == pytest.approx(0.1)


def test_the_model_has_the_parameters_of_the_formula(small):
    from trainer.model import GPT, parameter_count

    width, layers = 32, 1
    block = 12 * width * width + 13 * width  # attention 4w2 + 4w, MLP 8w2 + 5w, two norms 4w
    expected = 256 * width + 32 * width + layers * block + 2 * width
    assert parameter_count(GPT(small.model)) == expected


def test_the_model_sees_no_later_token(torch, small):
    from trainer.model import GPT

    model = GPT(small.model).eval()
    tokens = torch.randint(0, 256, (1, 32))
    changed = tokens.clone()
    changed[0, 20] = (changed[0, 20] + 1) % 256
    before, after = model(tokens), model(changed)
    assert torch.equal(before[0, :20], after[0, :20]) and not torch.equal(before[0, 20:], after[0, 20:])


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
    with pytest.raises(TrainerError, match="the loss of step") as caught:
        train(small, tmp_path)
    assert caught.value.exit_code == 1
    assert all(math.isfinite(loss) for loss in losses(tmp_path).values())
