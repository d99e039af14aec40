"""The training loop. Deterministic: the same config gives the same losses, whether or not it was killed between."""

from __future__ import annotations

import json
import math
import os
import sys
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from trainer import checkpoint
from trainer.config import Config, Optim
from trainer.data.corpus import Corpus
from trainer.errors import CHECK_FAILED, STOPPED_EARLY, WRONG_INPUT, TrainerError
from trainer.model import loss_of, parameter_count
from trainer.run import CONFIG, Metrics, owned
from trainer.state import State, fresh
from trainer.stop import StopRequest


@dataclass
class Loop:
    """One attempt at a run: what it works on, and where it writes."""

    config: Config
    folder: Path
    state: State
    corpus: Corpus
    device: torch.device
    metrics: Metrics
    began: float  # time.monotonic() seconds

    @property
    def checkpoints(self) -> Path:
        """Where this run's checkpoints lie."""
        return self.folder / "checkpoints"


def train(config: Config, folder: Path, stop: StopRequest) -> int:
    """Trains to `config.train.steps`, from the newest good checkpoint in `folder` if there is one.

    Returns the exit code: 0 done, 75 stopped by a signal or the time limit and resumable. Raises TrainerError.
    """
    began = time.monotonic()
    device = _device(config)
    with owned(folder):
        corpus = Corpus(config.data.path, config.model.context, config.model.vocab, config.train.seed)
        metrics = Metrics(folder)
        try:
            loop = Loop(config, folder, fresh(config, device), corpus, device, metrics, began)
            _resume(loop)
            _announce(loop)
            return _steps(loop, stop)
        finally:
            metrics.close()


def learning_rate(step: int, optim: Optim) -> float:
    """Rate of the step after `step` done ones: linear warm-up, then cosine down to min_lr at decay_steps."""
    if step < optim.warmup:
        return optim.lr * (step + 1) / optim.warmup
    part = min(1.0, (step - optim.warmup) / max(1, optim.decay_steps - optim.warmup))
    return optim.min_lr + 0.5 * (optim.lr - optim.min_lr) * (1.0 + math.cos(math.pi * part))


def _steps(loop: Loop, stop: StopRequest) -> int:
    state, config = loop.state, loop.config
    while state.step < config.train.steps:
        reason = stop.reason or _out_of_time(loop)
        if reason:
            _save(loop)
            loop.metrics.add("stop", step=state.step, reason=reason)
            _say(f"stopped by {reason} at step {state.step}; the same command resumes")
            return STOPPED_EARLY
        _one_step(loop)
        if config.checkpoint.every and state.step % config.checkpoint.every == 0:
            _save(loop)
    _save(loop)
    loop.metrics.add("stop", step=state.step, reason="done")
    _say(f"done: {state.step} steps, {state.tokens} tokens, run folder {loop.folder}")
    return 0


def _one_step(loop: Loop) -> None:
    state, config = loop.state, loop.config
    start = time.monotonic()
    rate = learning_rate(state.step, config.optim)
    for group in state.optimizer.param_groups:
        group["lr"] = rate
    loss = _gradients(loop)
    limit = config.optim.clip or math.inf
    norm = torch.nn.utils.clip_grad_norm_(state.model.parameters(), limit)
    value = float(loss)
    if not math.isfinite(value):
        hint = "lower optim.lr or look at the data; the last checkpoint is good"
        raise TrainerError(f"the loss of step {state.step + 1} is {value}", hint, CHECK_FAILED)
    state.optimizer.step()
    state.step += 1
    tokens = config.train.micro_batch * config.train.accumulation * config.model.context
    state.tokens += tokens
    now = time.monotonic()
    line = loop.metrics.add(
        "step",
        step=state.step,
        loss=value,
        lr=rate,
        grad_norm=float(norm),
        tokens=state.tokens,
        tokens_per_s=round(tokens / max(now - start, 1e-9), 1),
        seconds=round(now - loop.began, 3),
    )
    print(json.dumps(line), flush=True)


def _gradients(loop: Loop) -> Tensor:
    """Leaves the mean gradient of all micro-batches in the parameters; gives back the mean loss."""
    state, train = loop.state, loop.config.train
    state.model.train()
    state.optimizer.zero_grad(set_to_none=True)
    total = torch.zeros((), device=loop.device)
    for _ in range(train.accumulation):
        inputs, targets = loop.corpus.batch(state.position, train.micro_batch)
        with _precision(loop):
            loss = loss_of(state.model, inputs.to(loop.device), targets.to(loop.device)) / train.accumulation
        loss.backward()
        total += loss.detach()
    return total


def _precision(loop: Loop) -> AbstractContextManager[Any]:
    if loop.config.train.precision == "bf16":
        context: AbstractContextManager[Any] = torch.autocast(loop.device.type, dtype=torch.bfloat16)
        return context
    return nullcontext()


def _resume(loop: Loop) -> None:
    checkpoint.sweep(loop.checkpoints)
    newest = checkpoint.newest_good(loop.checkpoints, _say)
    if newest is None:
        if checkpoint.found(loop.checkpoints):
            _say("WARNING: no checkpoint of this run is good; starting from step 0")
        return
    _refuse_other_run(newest, _identity(loop))
    loop.state.read(newest)
    _say(f"resuming from {newest.name}")


def _identity(loop: Loop) -> dict[str, Any]:
    """What must not change between two attempts at one run, or the losses would not be one run's."""
    values = loop.config.to_json()
    return {
        "model": values["model"],
        "optim": values["optim"],
        "data": {"sha256": loop.corpus.sha256},
        "train": {key: values["train"][key] for key in ("micro_batch", "accumulation", "seed", "precision")},
    }


def _refuse_other_run(folder: Path, now: dict[str, Any]) -> None:
    then = checkpoint.manifest(folder)["identity"]
    changed = [
        f"{section}.{key} was {then.get(section, {}).get(key)}, is {value}"
        for section, values in now.items()
        for key, value in values.items()
        if then.get(section, {}).get(key) != value
    ]
    if changed:
        hint = "give the old values, or another --run folder"
        raise TrainerError(f"{folder.parent.parent} holds another run: {'; '.join(changed)}", hint, WRONG_INPUT)


def _save(loop: Loop) -> None:
    began = time.monotonic()
    facts = {"identity": _identity(loop), "tokens": loop.state.tokens, "torch": torch.__version__}
    path = checkpoint.save(loop.checkpoints, loop.state.step, loop.state.write, facts, loop.config.checkpoint.keep)
    loop.metrics.add("save", step=loop.state.step, checkpoint=path.name, seconds=round(time.monotonic() - began, 3))


def _announce(loop: Loop) -> None:
    (loop.folder / CONFIG).write_text(json.dumps(loop.config.to_json(), indent=1) + "\n", encoding="utf-8")
    parameters = parameter_count(loop.state.model)
    loop.metrics.add(
        "start",
        step=loop.state.step,
        parameters=parameters,
        device=str(loop.device),
        torch=torch.__version__,
        threads=torch.get_num_threads(),
        time=round(time.time(), 3),
    )
    _say(f"{parameters} parameters on {loop.device}, from step {loop.state.step} to {loop.config.train.steps}")


def _device(config: Config) -> torch.device:
    wanted = config.train.device
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    if wanted.startswith("cuda") and not torch.cuda.is_available():
        hint = "see `python -m trainer environment`, or train.device=cpu"
        raise TrainerError("train.device is cuda, but torch sees no GPU", hint)
    if config.train.deterministic:
        # cuBLAS is only deterministic with a fixed workspace (PyTorch notes, "Reproducibility")
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True, warn_only=True)
    return torch.device(wanted)


def _out_of_time(loop: Loop) -> str:
    limit = loop.config.train.limit_seconds
    return "the time limit" if limit and time.monotonic() - loop.began >= limit else ""


def _say(text: str) -> None:
    print(f"trainer: {text}", file=sys.stderr, flush=True)
