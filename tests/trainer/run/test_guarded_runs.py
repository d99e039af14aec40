"""What goes wrong in a run: bad steps, full disks, memory or data that end. Training goes on, or says why not."""

from __future__ import annotations

import dataclasses
import json
import math

import pytest

from trainer.checkpoint import folder as folders
from trainer.checkpoint import manifest, verify
from trainer.config import Stage
from trainer.errors import TrainerError
from trainer.metrics import log
from trainer.run.folder import losses
from trainer.run.stop import StopRequest

pytestmark = pytest.mark.usefixtures("torch")


def train(config, folder) -> int:
    from trainer.run.loop import train

    return train(config, folder, StopRequest())


def lines(folder, event):
    return [line for line in log.read(folder / log.TRAINING) if line["event"] == event]


@pytest.fixture
def bad_steps(monkeypatch):
    """Makes the gradient norm of these calls of norm() (counted from 1) nan, as broken data does."""
    from trainer.parallel.ddp import DDP

    bad, seen, sound = set(), [0], DDP.norm

    def norm(engine):
        if engine._norm is not None:
            return engine._norm
        seen[0] += 1
        value = sound(engine)
        if seen[0] in bad:
            engine._norm = value = math.nan
        return value

    monkeypatch.setattr(DDP, "norm", norm)
    return bad


def test_a_bad_step_is_skipped_with_its_data_and_never_applied(torch, weights_of, tmp_path, small, bad_steps):
    small.train.steps, small.checkpoint.every = 4, 1
    bad_steps.add(3)
    assert train(small, tmp_path) == 0
    guard = lines(tmp_path, "guard")
    assert [(line["step"], line["action"]) for line in guard] == [(3, "skip")]
    weights = [weights_of(tmp_path, step) for step in (2, 3, 4)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert not all(torch.equal(weights[1][name], weights[2][name]) for name in weights[0])


def test_after_too_many_skips_it_goes_back_and_passes_over_the_data(tmp_path, small, bad_steps):
    small.train.steps, small.checkpoint.every, small.guard.skips = 10, 2, 1
    bad_steps.update({5, 6})
    assert train(small, tmp_path) == 0
    back = [line for line in lines(tmp_path, "guard") if line.get("to") is not None]
    assert [(line["step"], line["to"]) for line in back] == [(6, 4)]
    end = manifest.read(tmp_path / "checkpoints" / folders.name_of(10))["progress"]
    assert end["step"] == 10 and end["samples"] == (10 + 2) * small.train.batch, "two batches were passed over"
    assert end["watch"]["rollbacks"] == 1


def test_when_going_back_does_not_help_it_stops_with_its_story(tmp_path, small, bad_steps):
    small.train.steps, small.checkpoint.every, small.guard.skips, small.guard.rollbacks = 50, 2, 0, 1
    bad_steps.update(range(5, 100))
    with pytest.raises(TrainerError, match="gradient norm nan") as caught:
        train(small, tmp_path)
    assert caught.value.exit_code == 1 and "newest checkpoint is good" in caught.value.next_step
    assert verify.newest_good(tmp_path / "checkpoints", print).name == folders.name_of(4)


def test_a_full_disk_under_the_logs_stops_no_training(tmp_path, small, capsys):
    small.train.steps = 5
    for name in (log.PERFORMANCE, log.WORDS):
        (tmp_path / name).symlink_to("/dev/full")
    assert train(small, tmp_path) == 0
    assert "lost" in capsys.readouterr().err
    assert verify.fault(tmp_path / "checkpoints" / folders.name_of(5)) is None


def test_memory_that_ends_names_the_knobs_with_numbers(torch, tmp_path, small, monkeypatch):
    from trainer.parallel.ddp import DDP

    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")

    monkeypatch.setattr(DDP, "micro", full)
    with pytest.raises(TrainerError, match="out of memory with a micro-batch of 4 windows x 32 tokens") as caught:
        train(small, tmp_path)
    assert "train.micro_batch" in caught.value.next_step


def test_the_best_checkpoint_is_named_and_outlives_the_others(tmp_path, small):
    small.train.steps, small.evaluate.every, small.checkpoint.every, small.checkpoint.keep = 60, 5, 1, 2
    small.optim.lr, small.optim.warmup, small.limits.patience = 3.0, 60, 3  # a rate that rises until it gets worse
    assert train(small, tmp_path) == 0
    evaluations = lines(tmp_path, "eval")
    best = min(evaluations, key=lambda line: line["val_loss"])
    assert folders.pointed(tmp_path / "checkpoints", folders.BEST).name == folders.name_of(best["step"])
    last = lines(tmp_path, "stop")[-1]
    assert last["reason"] == "no better validation loss" and last["step"] == best["step"] + 15
    kept = {path.name for path in folders.found(tmp_path / "checkpoints")}
    assert kept == {folders.name_of(step) for step in (best["step"], last["step"] - 1, last["step"])}


def test_patience_is_kept_over_a_resume(tmp_path, small):
    small.optim.lr, small.optim.min_lr, small.evaluate.every, small.limits.patience = 0.0, 0.0, 5, 3
    small.train.steps = 10
    assert train(small, tmp_path) == 0
    small.train.steps = 100
    assert train(small, tmp_path) == 0
    assert lines(tmp_path, "stop")[-1]["step"] == 20, "the first at step 5 is the best; 10, 15 and 20 are no better"


def test_the_token_limit_ends_the_run_and_the_dollar_limit_stops_it(tmp_path, small):
    small.train.steps, small.limits.tokens = 1000, 4 * 32 * 7
    assert train(small, tmp_path / "tokens") == 0
    assert lines(tmp_path / "tokens", "stop")[-1]["step"] == 7
    small.limits.tokens, small.limits.price, small.limits.dollars = 0, 3600.0, 0.000001
    assert train(small, tmp_path / "dollars") == 75
    assert lines(tmp_path / "dollars", "stop")[-1]["reason"] == "the dollar limit"


def test_stages_change_the_length_exactly_at_their_border_and_nothing_else(tmp_path, small):
    small.model.dropout, small.train.steps = 0.0, 12
    step = small.train.batch * small.model.context
    small.curriculum = [Stage(8, 3 * step), Stage(16, 4 * step), Stage(32)]
    assert train(small, tmp_path / "whole") == 0
    assert [(line["step"], line["length"]) for line in lines(tmp_path / "whole", "stage")] == [(0, 8), (3, 16), (7, 32)]
    assert {line["tokens"] - step * line["step"] for line in lines(tmp_path / "whole", "step")} == {0}
    # a resume on the border, in two processes' worth of attempts
    for steps in (3, 7, 12):
        small.train.steps = steps
        assert train(small, tmp_path / "parts") == 0
    assert losses(tmp_path / "parts") == losses(tmp_path / "whole")


def test_a_run_that_passes_its_data_too_often_is_warned(tmp_path, small, capsys):
    text = tmp_path / "text.txt"
    text.write_bytes(b"All work and no play makes Jack a dull boy. " * 20)
    small.data.path, small.train.steps = str(text), 40
    train(small, tmp_path / "run")
    assert "passes its data 6.2 times" in capsys.readouterr().err


def test_fp8_is_proved_counted_and_refused_where_it_is_not_on(tmp_path, small, monkeypatch):
    monkeypatch.setenv("STOKER_FP8_EMULATE", "1")
    small.precision.name, small.precision.backend, small.precision.min_dim = "fp8-current", "native", 32
    small.train.steps = 3
    assert train(small, tmp_path / "fp8") == 0
    first = lines(tmp_path / "fp8", "step")[0]
    assert first["fp8_layers"] == 4
    assert json.loads((tmp_path / "fp8" / "precision.json").read_text())["name"] == "fp8-current"
    small.precision.name, small.train.steps = "bf16", 6
    with pytest.raises(TrainerError, match="trained in another precision"):
        train(small, tmp_path / "fp8")
    small.precision.name, small.precision.min_dim = "fp8-current", 1024
    with pytest.raises(TrainerError, match="1024"):
        train(small, tmp_path / "none")


@pytest.fixture
def loop(small, tmp_path):
    """A loop before its first step."""
    from trainer.parallel.world import join
    from trainer.run.corpus import Corpus
    from trainer.run.job import make
    from trainer.run.journal import Journal
    from trainer.run.loop import Loop

    journal = Journal(small, tmp_path, True, 1)
    job = make(small, tmp_path, join(small), Corpus(small, tmp_path), journal)
    yield Loop(job, StopRequest())
    job.source.close()
    journal.close()


@pytest.mark.parametrize("wish", ["skip", "rollback", "stop"])
def test_an_fp16_overflow_is_skipped_whatever_is_done_about_nan_until_the_scale_had_its_chance(small, loop, wish):
    from trainer.run.loop import FP16_SKIPS

    small.guard.nan, small.guard.rollbacks = wish, 0
    loop.job.precision = dataclasses.replace(loop.job.precision, name="fp16")
    actions = [loop._judge(3.0, math.inf, 128).action for _ in range(FP16_SKIPS + 1)]
    assert actions == ["skip"] * FP16_SKIPS + ["stop"]
    loop.job.state.progress.watch.skipped = 0
    assert loop._judge(math.nan, math.nan, 128).action == ("skip" if wish == "skip" else "stop"), "a loss that is nan"


def test_a_step_in_which_no_token_counts_is_passed_over(torch, loop, monkeypatch):
    weights = {name: value.clone() for name, value in loop.job.state.engine.model.named_parameters()}
    nothing = torch.full((4, 32), -100)
    monkeypatch.setattr(loop.job.source, "masked", True)
    monkeypatch.setattr(loop.job.source, "micro_batches", lambda *_: iter([(nothing.clamp(min=0), nothing)]))
    assert loop._step()
    now = dict(loop.job.state.engine.model.named_parameters())
    assert all(torch.equal(weights[name], now[name]) for name in weights), "decay alone would have moved them"
    assert loop.job.state.progress.watch.seen == 0
    step = lines(loop.job.folder, "step")[0]
    assert step["loss"] is None and step["skipped"] is True


def test_no_memory_is_filled_only_to_be_written(torch, loop):
    assert torch.are_deterministic_algorithms_enabled()
    assert not torch.utils.deterministic.fill_uninitialized_memory
