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
STEEP = 8  # how late the hold sets in, see _held
NOTABLE = 0.99  # a hold that is worth a word
HIDDEN = 0.25  # a part above this share of a step that a setting could avoid is worth a word


@dataclass(frozen=True, slots=True)
class Speed:
    """What a setup does per second.

    parts: seconds of one optimizer step by name, all >= 0, summing to step_seconds. mfu_bf16, mfu_own: percent of the
    bf16 peak, and of the named peak of the setup's precision; full attention counted, recomputation not. formula:
    tokens/s per GPU before anything is held below what is published: what settings are compared by.
    """

    per_gpu: Figure
    total: Figure
    mfu_bf16: Figure
    mfu_own: Figure
    flops_per_token: Figure
    step_seconds: float
    parts: dict[str, float]
    formula: float
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
    held = _held(setup, rate * to_percent / setup.gpu.peak["bf16"]) ** (1 - own.trust)
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
        formula=rate,
        warnings=_warnings(setup, rate * to_percent / bf16, parts),
    )


def _held(setup: Setup, mfu: float) -> float:
    """A factor that keeps the trainer below the best MFU anybody has published, as nothing of it is published.

    Smooth, so that what is faster stays faster: half of the best is left as it is, the best itself becomes 92% of it.
    """
    if setup.engine not in OWN:
        return 1.0
    best = safe_best(setup.shape, setup.gpu, setup.precision)
    return float((1 + (mfu / best) ** STEEP) ** (-1 / STEEP))


def _rate(setup: Setup, rate: float, held: float, limits: Range, own: Correction) -> Figure:
    # a range may not reach above what the GPU can compute at all
    ceiling = 1 / least_seconds(setup.shape, setup.gpu, setup.precision, setup.length)
    if setup.adapter:
        ceiling *= 1.5
    source = f"{MODEL}; range: {limits.why}"
    if own.runs:
        source = f"{MODEL} x {own.factor:.2f}, from measured {', '.join(own.runs)}; range: {limits.why}"
    elif held < NOTABLE:
        source = f"{source}; held below the best MFU that is published, by {1 - held:.0%}"
    value = min(rate, ceiling) * held
    return Figure(value, "tokens/s", source, value * limits.low, min(value * limits.high, ceiling))


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
        found.append(f"by the formulas alone {mfu:.0f}% MFU; nobody has published more than {best:.0f}%: measure it")
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
