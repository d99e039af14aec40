"""Packages that belong to the base: NVIDIA compiled them against each other, so pip must never replace one.

NVIDIA's torch is a pre-release (2.5.0a0+e000cf0ad9): PEP 440 sorts it below 2.5.0, and `torch>=2.5` makes pip install
another torch over it, without a word (facts/ngc.md, section 3). So this is refused when the profile is loaded.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from profiles import bases, precision
from profiles.bases import BaseFacts
from profiles.errors import WrongInput

if TYPE_CHECKING:
    from packaging.requirements import Requirement

# Distribution name -> its fact in the table, None where no table holds the version.
OWNED: dict[str, str | None] = {
    "torch": "torch",
    "torchvision": None,
    "torchao": "torchao",
    "torchdata": None,
    "torchtitan": None,
    "torch-tensorrt": None,
    "triton": None,
    "pytorch-triton": None,
    "transformer-engine": "transformer_engine",
    "transformer-engine-torch": "transformer_engine",
    "flash-attn": "flash_attn",
    "apex": None,
    "tensorrt": "tensorrt",
    "nvidia-modelopt": "modelopt",
    "nvidia-resiliency-ext": "nvrx",
}
CUDA_WHEEL = re.compile(r"(nvidia-.*-cu\d+|nvidia-dali-.*|transformer-engine-cu\d+)")
LIMITED = {"numpy": "numpy"}  # may be replaced where the table says nothing of them


def normal(name: str) -> str:
    """A distribution's name as PEP 503 compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def is_owned(name: str) -> bool:
    """Whether a distribution belongs to an NGC base."""
    return normal(name) in OWNED or CUDA_WHEEL.fullmatch(normal(name)) is not None


def check(requirements: tuple[str, ...], facts: BaseFacts) -> list[str]:
    """Warnings about what the answer rests on. Raises WrongInput when pip would replace a package of the base."""
    warnings: list[str] = []
    for text in requirements:
        found = re.match(r"[A-Za-z0-9._-]+", text)
        name = normal(found[0]) if found else ""
        if is_owned(name) or name in LIMITED:
            from packaging.requirements import Requirement

            requirement = Requirement(text)
            warnings += check_one(requirement, facts, strict=name not in LIMITED)
    return warnings


def check_one(requirement: Requirement, facts: BaseFacts, strict: bool) -> list[str]:
    """As `check`, for one requirement. strict: a version that is not known is refused too."""
    name = normal(requirement.name)
    key = OWNED.get(name) or LIMITED.get(name)
    fact = facts.get(key) if key else bases.UNKNOWN
    leave = f"leave `{requirement}` out: the base brings its own {name}"
    if requirement.url or CUDA_WHEEL.fullmatch(name):
        raise WrongInput(f"`{requirement}` would replace a package of {facts.base}", leave)
    if not str(requirement.specifier):
        return []
    if fact.value is None:
        if not strict:
            return []
        raise WrongInput(f"`{requirement}`: which {name} {facts.base} has is not known, so pip might replace it", leave)
    if satisfied(requirement, fact.value):
        return [] if fact.sure else [f"`{requirement}` rests on {name} {fact} in {facts.base}"]
    raise WrongInput(
        f"`{requirement}` is not met by {name} {fact} of {facts.base}{trap(requirement, fact.value)}, "
        "so pip would replace the base's build",
        remedy(requirement, facts, key),
    )


def satisfied(requirement: Requirement, version: str) -> bool:
    """Whether a version meets the requirement; pre-releases count, as NVIDIA's builds are pre-releases."""
    from packaging.version import InvalidVersion, Version

    try:
        return requirement.specifier.contains(Version(version), prereleases=True)
    except InvalidVersion:
        return False


def trap(requirement: Requirement, version: str) -> str:
    """Says so when only the pre-release mark of the base's version is in the way."""
    from packaging.version import InvalidVersion, Version

    try:
        have = Version(version)
    except InvalidVersion:
        return ""
    if have.is_prerelease and requirement.specifier.contains(have.base_version):
        return f" (a pre-release, which PEP 440 sorts below {have.base_version})"
    return ""


def remedy(requirement: Requirement, facts: BaseFacts, key: str | None) -> str:
    """How to write it so that the base's own build is taken, or the base that meets it."""
    name = normal(requirement.name)
    if key is None:
        return f"leave {name} out"
    if trap(requirement, facts.get(key).value or ""):
        release = bases.numbers(facts.get(key).value or "")
        minor = ".".join(str(part) for part in release[:2])
        return f"write {name}=={minor}.* or {name}>={'.'.join(str(part) for part in release)}a0, or leave it out"
    first = precision.first_tag(
        lambda later: later.get(key).value is None or satisfied(requirement, later.get(key).value or "")
    )
    if first and bases.base_facts(first).get(key).value:
        return f"leave {name} out, or choose a base from {first.removesuffix('-py3')}"
    return f"leave {name} out: the base brings its own"
