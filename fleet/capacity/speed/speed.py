"""Tokens per second of a setup, with its range: the time of one optimizer step as a sum of physical parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fleet.capacity.count import flops_per_token
from fleet.capacity.figure import Figure
from fleet.capacity.setup import Setup
from fleet.capacity.speed.claims import least_seconds, safe_best
from fleet.capacity.speed.error import OWN, Range, expected
from fleet.capacity.speed.measured import Correction, Measured, correction
from fleet.capacity.speed.step import step
from profiles.errors import WrongInput

MODEL = "time model fitted on published rows"
HIDDEN = 0.25  # a part above this share of a step that a setting could avoid is worth a word


@dataclass(frozen=True, slots=True)
class Speed:
    """What a setup does per second.

    parts: seconds of one optimizer step by name, all >= 0, summing to step_seconds. mfu_bf16, mfu_own: percent of the
    bf16 peak, and of the named peak of the setup's precision; full attention counted, recomputation not.
    """

    per_gpu: Figure
    total: Figure
    mfu_bf16: Figure
    mfu_own: Figure
    flops_per_token: Figure
    step_seconds: float
    parts: dict[str, float]
    warnings: list[str]


def speed(setup: Setup, measured: Sequence[Measured] = ()) -> Speed:
    """Predict; the user's own `measured` runs on the same GPU correct it.

    Raises WrongInput where the GPU lacks the precision, or fewer GPUs are given than the setup cuts the model over.
    """
    named = setup.gpu.peak_for(setup.precision)
    if named is None:
        raise WrongInput(f"{setup.gpu.name} has no hardware for {setup.precision}", "use --precision bf16")
    if setup.data_parallel < 1 or setup.micro_batch < 1:
        raise WrongInput(
            f"{setup.gpus} GPUs and a micro-batch of {setup.micro_batch} leave nothing to train on",
            "use at least one sequence and tensor x context x pipeline GPUs",
        )
    own = correction(setup, measured) if measured else Correction(1.0, 0.0, ())
    parts = {name: seconds / own.factor for name, seconds in step(setup).items()}
    rate, limits = setup.step_tokens / sum(parts.values()) / setup.gpus, expected(setup, own.trust)
    flops = _flops(setup)
    to_percent = flops.value / 1e12 * 100
    held = 1.0 if own.runs else _held(setup, rate * to_percent / setup.gpu.peak["bf16"])
    parts = {name: seconds / held for name, seconds in parts.items()}
    seconds = sum(parts.values())
    per_gpu = _rate(setup, rate, held, limits, own)
    bf16, kind = setup.gpu.peak["bf16"], setup.precision.split("-")[0]
    return Speed(
        per_gpu=per_gpu,
        total=per_gpu.times(setup.gpus),
        mfu_bf16=per_gpu.times(to_percent / bf16, "%", f"tokens/s x FLOPs per token / {bf16:g} TFLOP/s, the bf16 peak"),
        mfu_own=per_gpu.times(to_percent / named, "%", f"the same / {named:g} TFLOP/s, the {kind} peak"),
        flops_per_token=flops,
        step_seconds=seconds,
        parts=parts,
        warnings=_warnings(setup, rate * to_percent / bf16, parts),
    )


def _held(setup: Setup, mfu: float) -> float:
    """What the trainer is held to: nothing of it is published, so nobody is promised more than the best that is."""
    return min(1.0, safe_best(setup.shape, setup.gpu, setup.precision) / mfu) if setup.engine in OWN else 1.0


def _rate(setup: Setup, rate: float, held: float, limits: Range, own: Correction) -> Figure:
    # a range may not reach above what the GPU can compute at all
    ceiling = 1 / least_seconds(setup.shape, setup.gpu, setup.precision, setup.length)
    if setup.adapter:
        ceiling *= 1.5
    source = f"{MODEL}; range: {limits.why}"
    if own.runs:
        source = f"{MODEL} x {own.factor:.2f}, from measured {', '.join(own.runs)}; range: {limits.why}"
    if held < 1:
        source = f"{source}; held to the best MFU that is published"
    rate = min(rate, ceiling)
    return Figure(rate * held, "tokens/s", source, rate * min(held, limits.low), min(rate * limits.high, ceiling))


def _flops(setup: Setup) -> Figure:
    flops = flops_per_token(setup.shape, setup.length)
    if setup.adapter:  # frozen matrices have no gradients of their own: two products in three
        value = (flops.blocks + flops.head) * 2 / 3 + flops.attention
        return Figure(value, "FLOP", "4 (matrices + head) + 12 L h T: weights frozen, adapters not counted")
    return Figure(flops.total, "FLOP", "6 (matrices + head) + 12 L h T: PaLM, arXiv 2204.02311, without embeddings")


def _warnings(setup: Setup, mfu: float, parts: dict[str, float]) -> list[str]:
    found = []
    best = safe_best(setup.shape, setup.gpu, setup.precision)
    if mfu > best:
        planned = "planned with" if setup.engine in OWN else "published at best"
        found.append(f"the formulas give {mfu:.0f}% MFU; {best:.0f}% is {planned}, the most anybody has published")
    whole = sum(parts.values())
    reasons = {
        "communication": "exchange between GPUs",
        "offload": "offloading to the host",
        "launch": "launching kernels: larger micro-batches help",
        "recompute": "computing activations again",
    }
    for name, reason in reasons.items():
        if parts[name] > HIDDEN * whole:
            found.append(f"{parts[name] / whole:.0%} of a step is {reason}")
    return found
