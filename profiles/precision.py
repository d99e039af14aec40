"""Which precision runs where: pure rules over the GPU's compute capability, the base's CUDA and Transformer Engine.

The rules are Transformer Engine's own (`pytorch/quantization.py`, `is_*_available`) and its changelog of recipes.
Block scaling and NVFP4 pass TE's rule on compute capability 12.x, but nobody has shown them to work there, and a wrong
guess is found after the machine is paid for: they are refused.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from profiles import bases
from profiles.bases import BaseFacts
from profiles.errors import WrongInput
from profiles.gpus import Gpu

Capability = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Rule:
    """What a precision needs. Capabilities: from (inclusive) and below (exclusive); te, cuda: least versions."""

    since: Capability
    below: Capability | None = None
    te: str | None = None
    cuda: str | None = None
    unproven: bool = False  # from `below` on TE's rule passes, without evidence that it works


RULES = {
    "fp32": Rule((0, 0)),
    "fp16": Rule((7, 0)),
    "bf16": Rule((8, 0)),
    "fp8-delayed": Rule((8, 9), te="1.0"),
    "fp8-current": Rule((8, 9), te="2.2"),
    "fp8-block": Rule((9, 0), (12, 0), te="2.3", cuda="12.9", unproven=True),
    "mxfp8": Rule((10, 0), (12, 0), te="2.0"),
    "nvfp4": Rule((10, 0), (12, 0), te="2.8", unproven=True),
}
ADA_CUDA = "12.1"  # FP8 on 8.9 also wants cuBLASLt 12.1.3, which every base in the table has
# What to offer instead, best first; block scaling is never offered, since current scaling is its equal in quality here.
INSTEAD = ("mxfp8", "fp8-current", "fp8-delayed", "bf16", "fp16", "fp32")


@dataclass(frozen=True, slots=True)
class Verdict:
    """why_not: None when it runs; doubts: what the answer rests on that is no fact."""

    why_not: str | None = None
    doubts: tuple[str, ...] = ()


def check(precision: str, gpu: Gpu | None, facts: BaseFacts) -> list[str]:
    """Warnings about what the answer rests on. Raises WrongInput when the precision does not run there."""
    verdict = judge(precision, gpu, facts)
    if verdict.why_not is None:
        return list(verdict.doubts)
    where = f"on {gpu.name} (compute capability {gpu.cc})" if gpu else "without a GPU"
    raise WrongInput(
        f"{precision} does not run {where} with {facts.base}: {verdict.why_not}", advice(precision, gpu, facts)
    )


def judge(precision: str, gpu: Gpu | None, facts: BaseFacts) -> Verdict:
    """Whether the precision runs on this GPU (None: a CPU) with this base."""
    rule = RULES[precision]
    if gpu is None:
        return Verdict() if precision in ("fp32", "bf16") else Verdict("a CPU computes in fp32 or bf16")
    why = capability_problem(precision, rule, gpu.compute_capability)
    if why:
        return Verdict(why)
    needs = [("transformer_engine", "Transformer Engine", rule.te), ("cuda", "CUDA", rule.cuda)]
    if rule.te and gpu.compute_capability == (8, 9):
        needs.append(("cuda", "CUDA", ADA_CUDA))
    doubts: list[str] = []
    for key, label, minimum in needs:
        if minimum is None:
            continue
        fact = facts.get(key)
        if fact.value is None:
            doubts.append(f"{precision} needs {label} {minimum}: what {facts.base} has is not known; run `inv lock`")
        elif not bases.at_least(fact.value, minimum):
            return Verdict(f"it needs {label} {minimum}, the base has {fact}")
        elif not fact.sure:
            doubts.append(f"{precision} rests on {label} {fact} in {facts.base}; run `inv lock` to make sure")
    return Verdict(None, tuple(doubts))


def capability_problem(precision: str, rule: Rule, have: Capability) -> str | None:
    """Why the hardware cannot, None when it can."""
    if have < rule.since:
        what = "FP8 hardware" if precision.startswith("fp8") and rule.since == (8, 9) else precision
        return f"{what} begins with compute capability {rule.since[0]}.{rule.since[1]}"
    if rule.below and have >= rule.below:
        if rule.unproven:
            return f"on {have[0]}.x nobody has shown it to work, although Transformer Engine lets it pass"
        return f"it ends below compute capability {rule.below[0]}.{rule.below[1]}"
    return None


def advice(precision: str, gpu: Gpu | None, facts: BaseFacts) -> str:
    """What to choose instead: a precision that runs there, and the base from which the wish comes true."""
    choice = next((name for name in INSTEAD if name != precision and judge(name, gpu, facts).why_not is None), "fp32")
    first = first_tag(lambda later: judge(precision, gpu, later).why_not is None)
    if first is None or capability_problem(precision, RULES[precision], gpu.compute_capability if gpu else (0, 0)):
        return f"choose {choice}"
    return f"choose {choice}, or a base from {first.removesuffix('-py3')}"


def first_tag(good: Callable[[BaseFacts], bool]) -> str | None:
    """The oldest tag of the table from which on every tag is good, None when even the newest is not."""
    found: str | None = None
    for tag in reversed(bases.tags()):
        if not good(bases.base_facts(tag)):
            break
        found = tag
    return found
