"""Whether a claimed number of tokens per second can be true: against the peak, and against what has been published."""

from __future__ import annotations

from dataclasses import dataclass

from fleet.capacity.count import count, flops_per_token
from fleet.capacity.shape import Shape
from fleet.capacity.widths import eight_bits
from profiles.errors import WrongInput
from profiles.gpus import Gpu

SLOW = 20.0  # percent of the bf16 peak; published runs of 1B and more on 8 GPUs lie above 26
# Highest published MFU, percent of the bf16 peak, by architecture: (16 bits, 8 bits).
# A100: MPT-3b at 512, 63.7 (llm-foundry). Hopper: nanochat d24 50.0; fp8: d26 57.8, Llama-3.1-8B 67.5 (torchtitan).
BEST = {(8, 0): (64.0, 0.0), (9, 0): (50.0, 68.0)}
UNKNOWN_BEST = (65.0, 90.0)  # nothing published of that architecture is known here: the best of any
SMALL, SMALL_BEST8 = 2e9, 58.0  # below so many parameters fp8 gains less: MPT-1b at 512, nanochat d26


@dataclass(frozen=True, slots=True)
class Verdict:
    """word: impossible, above anything published, plausible, slow. mfu: percent of the bf16 peak, full attention
    counted. peak_share: the least time a token can take over the time claimed; above 1 is impossible."""

    word: str
    mfu: float
    mfu_own: float
    peak_share: float
    why: str


def judge(shape: Shape, gpu: Gpu, precision: str, tokens_per_second_per_gpu: float, length: int) -> Verdict:
    """Of full training (every weight, forward and backward). Raises WrongInput where the GPU lacks the precision."""
    named = gpu.peak_for(precision)
    if named is None:
        raise WrongInput(f"{gpu.name} has no hardware for {precision}", "use --precision bf16")
    rate = tokens_per_second_per_gpu * flops_per_token(shape, length).total / 1e12
    mfu, own = 100 * rate / gpu.peak["bf16"], 100 * rate / named
    share = tokens_per_second_per_gpu * least_seconds(shape, gpu, precision, length)
    best = best_published(shape, gpu, precision)
    told = f"{rate:,.0f} TFLOP/s is {mfu:.0f}% of the bf16 peak of {gpu.name} ({gpu.peak['bf16']:g})"
    if share > 1:
        return Verdict(
            "impossible", mfu, own, share, f"{told}; with causal attention it still takes {share:.0%} of the GPU"
        )
    if mfu > best:
        return Verdict("above anything published", mfu, own, share, f"{told}; the best published is {best:.0f}%")
    if mfu < SLOW:
        return Verdict("slow", mfu, own, share, f"{told}; published runs reach more than {SLOW:.0f}%")
    return Verdict("plausible", mfu, own, share, f"{told}; published runs reach up to {best:.0f}%")


def best_published(shape: Shape, gpu: Gpu, precision: str) -> float:
    """Percent of the bf16 peak."""
    wide, narrow = BEST.get(gpu.compute_capability, UNKNOWN_BEST)
    if not eight_bits(precision):
        return wide
    return min(narrow, SMALL_BEST8) if gpu.compute_capability == (9, 0) and count(shape).total < SMALL else narrow


def safe_best(shape: Shape, gpu: Gpu, precision: str) -> float:
    """The same where it is planned with: of an architecture nobody has published, no more than of one like it."""
    if gpu.compute_capability in BEST:
        return best_published(shape, gpu, precision)
    narrow = SMALL_BEST8 if count(shape).total < SMALL else BEST[9, 0][1]
    like = (9, 0) if gpu.compute_capability >= (9, 0) else (8, 0)
    return narrow if eight_bits(precision) else BEST[like][0]


def least_seconds(shape: Shape, gpu: Gpu, precision: str, length: int) -> float:
    """No GPU trains on a token in less: the FLOPs of a causal model at the peak, nothing recomputed."""
    flops = flops_per_token(shape, length)
    named = (gpu.peak_for(precision) or gpu.peak["bf16"]) * 1e12
    wide = gpu.peak["bf16"] * 1e12 if eight_bits(precision) else named
    return flops.blocks / named + (flops.head + flops.attention_causal) / wide
