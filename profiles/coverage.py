"""Whether a base has code for a GPU: cubins run within a major version from their minor on, PTX on all newer."""

from __future__ import annotations

import re

from profiles import bases, precision
from profiles.bases import BaseFacts
from profiles.errors import WrongInput
from profiles.gpus import Gpu
from profiles.precision import Capability, Verdict


def check(gpu: Gpu, facts: BaseFacts) -> list[str]:
    """Warnings about what the answer rests on. Raises WrongInput when the base has no code for the GPU."""
    verdict = judge(gpu, facts)
    if verdict.why_not is None:
        return list(verdict.doubts)
    first = precision.first_tag(lambda later: judge(gpu, later).why_not is None)
    step = f"choose a base from {first.removesuffix('-py3')}" if first else "choose another base"
    newer = first_known(gpu)
    if first and newer and newer > first:
        step += f", better from {newer.removesuffix('-py3')}, whose list of architectures is known to have it"
    raise WrongInput(f"{facts.base} does not run on {gpu.name} ({gpu.sm}): {verdict.why_not}", step)


def judge(gpu: Gpu, facts: BaseFacts) -> Verdict:
    """Whether the base's CUDA knows the GPU and its PyTorch was compiled for it."""
    oldest = bases.table()["first_cuda"].get(gpu.compute_capability[0])
    cuda = facts.cuda.value
    if oldest and cuda and not bases.at_least(cuda, oldest):
        return Verdict(f"its CUDA {facts.cuda} has no {gpu.sm}, which begins with CUDA {oldest}")
    if facts.arch.value is None:
        return Verdict(None, (f"for which GPUs {facts.base} was compiled is not known; run `inv lock`",))
    cubins, ptx = architectures(facts.arch.value)
    have = gpu.compute_capability
    doubts = () if facts.arch.sure else (f"{gpu.sm} in {facts.base} rests on the list {facts.arch}; run `inv lock`",)
    if any(major == have[0] and minor <= have[1] for major, minor in cubins):
        return Verdict(None, doubts)
    if any(version <= have for version in ptx):
        slow = f"{facts.base} has no cubin for {gpu.sm}: its PTX is compiled on the machine, which makes starts slow"
        return Verdict(None, (*doubts, slow))
    return Verdict(f"it was compiled for {facts.arch}, without {gpu.sm}")


def architectures(text: str) -> tuple[list[Capability], list[Capability]]:
    """TORCH_CUDA_ARCH_LIST as compute capabilities: with cubins, and with PTX."""
    cubins: list[Capability] = []
    ptx: list[Capability] = []
    for word in re.split(r"[\s;,]+", text.strip()):
        found = re.fullmatch(r"(\d+)\.(\d+)[af]?(\+PTX)?", word)
        if found is None:
            continue
        version = (int(found[1]), int(found[2]))
        cubins.append(version)
        if found[3]:
            ptx.append(version)
    return cubins, ptx


def first_known(gpu: Gpu) -> str | None:
    """The oldest tag whose list of architectures is a fact and has the GPU."""
    for tag in bases.tags():
        facts = bases.base_facts(tag)
        if facts.arch.sure and judge(gpu, facts).why_not is None:
            return tag
    return None
