"""Refuses a config that cannot train, before a second of GPU time is spent; resolves the dials that set other keys."""

from __future__ import annotations

import difflib
import math
from collections.abc import Sequence
from typing import Any

from trainer.config.amounts import divisors
from trainer.config.schema import FAMILIES, PRECISIONS, Config
from trainer.errors import TrainerError

CHOICES: dict[str, Sequence[str]] = {
    "model.family": FAMILIES,
    "model.attention": ("auto", "te", "flash", "flash3", "flash2", "sdpa"),
    "optim.name": ("adamw", "muon"),
    "optim.schedule": ("cosine", "wsd", "linear", "constant"),
    "train.compile_mode": ("default", "max-autotune-no-cudagraphs"),
    "train.device": ("auto", "cpu", "cuda"),
    "train.checkpointing": ("none", "selective", "full"),
    "precision.name": PRECISIONS,
    "precision.backend": ("auto", "te", "native"),
    "precision.amax_algorithm": ("max", "most_recent"),
    "parallel.engine": ("auto", "ddp", "deepspeed"),
    "parallel.offload": ("none", "optimizer", "parameters", "both"),
    "guard.nan": ("skip", "rollback", "stop"),
    "guard.spike": ("off", "warn", "skip", "rollback", "stop"),
    "metrics.wandb": ("off", "offline", "online"),
}
AT_LEAST: dict[str, float] = {
    "model.layers": 1,
    "model.heads": 1,
    "model.kv_heads": 0,
    "model.width": 1,
    "model.ffn": 0,
    "model.context": 1,
    "model.vocab": 2,
    "train.steps": 1,
    "train.batch": 1,
    "train.micro_batch": 0,
    "train.seed": 0,
    "train.loss_chunk": -1,
    "optim.lr": 0,
    "optim.min_lr": 0,
    "optim.warmup": 0,
    "optim.decay_steps": 0,
    "optim.weight_decay": 0,
    "optim.clip": 0,
    "data.prefetch": 0,
    "data.shuffle_shards": 1,
    "data.cache_gb": 0,
    "checkpoint.every": 0,
    "checkpoint.keep": 1,
    "checkpoint.keep_every": 0,
    "checkpoint.sync_seconds": 0,
    "checkpoint.remote_keep": 0,
    "checkpoint.rate_mb": 0,
    "evaluate.every": 0,
    "evaluate.tokens": 0,
    "limits.tokens": 0,
    "limits.hours": 0,
    "limits.dollars": 0,
    "limits.price": 0,
    "limits.patience": 0,
    "guard.skips": 0,
    "guard.rollbacks": 0,
    "metrics.every": 1,
    "metrics.gpu_seconds": 0,
    "metrics.peak_bf16_tflops": 0,
    "metrics.peak_fp8_tflops": 0,
    "precision.warmup_steps": 0,
}


def resolve(config: Config) -> None:
    """Turns the depth dial into layers, width and heads, and `fp8` into the recipe without state of its own.

    Raises TrainerError when they do not come out whole.
    """
    model = config.model
    if config.precision.name == "fp8":
        config.precision.name = "fp8-current"
    if model.depth < 0:
        raise TrainerError(f"model.depth is {model.depth}", "it must be at least 0; 0 leaves layers, width and heads")
    if model.depth:
        width = model.depth * model.aspect
        if model.head_dim < 1 or width % model.head_dim:
            hint = f"choose a depth so that depth * {model.aspect} is a multiple, or another model.head_dim"
            raise TrainerError(f"width {width} is not a multiple of model.head_dim {model.head_dim}", hint)
        model.layers, model.width, model.heads = model.depth, width, width // model.head_dim


def check(config: Config) -> None:
    """Raises TrainerError for the first value that cannot train."""
    for name, known in CHOICES.items():
        value = _value(config, name)
        if value not in known:
            near = difflib.get_close_matches(str(value), known, n=1)
            advice = f"did you mean {near[0]}? " if near else ""
            raise TrainerError(f"{name} is {value!r}", f"{advice}choose one of {', '.join(known)}")
    for name, least in AT_LEAST.items():
        value = _value(config, name)
        if not math.isfinite(value) or value < least:
            raise TrainerError(f"{name} is {value}", f"it must be a finite number of at least {least:g}")
    for name in ("model.dropout", "optim.beta1", "optim.beta2", "optim.muon_momentum"):
        if not 0 <= _value(config, name) < 1:
            raise TrainerError(f"{name} is {_value(config, name)}", "it must be at least 0 and below 1")
    if not 0 < config.optim.decay_fraction <= 1:
        raise TrainerError(f"optim.decay_fraction is {config.optim.decay_fraction}", "it must be above 0, at most 1")
    if config.optim.min_lr > config.optim.lr:
        raise TrainerError(
            f"optim.min_lr {config.optim.min_lr} is above optim.lr {config.optim.lr}", "lower min_lr, or raise lr"
        )
    _check_parts(config)


def batches(config: Config, world: int) -> int:
    """Windows of one rank in one step. Raises TrainerError naming batches that divide over `world` ranks."""
    batch = config.train.batch
    if batch % world:
        near = [max(1, batch // world) * world, (batch // world + 1) * world]
        hint = f"set train.batch to {' or '.join(str(one) for one in dict.fromkeys(near))}, or change the ranks"
        raise TrainerError(f"train.batch {batch} does not divide over {world} ranks", hint)
    return batch // world


def micro_batches(config: Config, world: int, micro: int) -> int:
    """Micro-batches of one rank in one step: the accumulation. Raises TrainerError when they do not come out whole."""
    own = batches(config, world)
    if own % micro:
        hint = f"choose one of {', '.join(str(size) for size in divisors(own))}"
        raise TrainerError(f"train.micro_batch {micro} does not divide the {own} windows of a rank", hint)
    return own // micro


def _check_parts(config: Config) -> None:
    from trainer.model.shape import check_shape
    from trainer.optim.curriculum import Plan

    check_shape(config.model)
    Plan(config)
    parallel = config.parallel
    if parallel.zero not in (0, 1, 2, 3):
        raise TrainerError(f"parallel.zero is {parallel.zero}", "choose 0, 1, 2 or 3")
    if parallel.engine == "ddp" and parallel.zero:
        raise TrainerError("parallel.engine ddp shards nothing", "set parallel.zero=0, or parallel.engine=deepspeed")
    if parallel.offload in ("parameters", "both") and parallel.zero != 3:
        raise TrainerError(f"parallel.offload {parallel.offload} needs parallel.zero=3", "change one")
    if parallel.offload == "optimizer" and parallel.zero == 0:
        raise TrainerError("parallel.offload optimizer needs parallel.zero 1, 2 or 3", "change one")
    if config.limits.dollars and not config.limits.price:
        raise TrainerError("limits.dollars needs limits.price", "set limits.price to the dollars of a GPU-hour")
    if config.limits.patience and not config.evaluate.every:
        raise TrainerError("limits.patience counts evaluations", "set evaluate.every to the steps between them")


def _value(config: Config, name: str) -> Any:
    section, key = name.split(".")
    return getattr(getattr(config, section), key)
