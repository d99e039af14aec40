"""A profile against its GPU and its base: what cannot work is refused before anything is built or rented."""

from __future__ import annotations

from typing import TYPE_CHECKING

from profiles import bases, coverage, gpus, owned, precision
from profiles.bases import BaseFacts
from profiles.errors import WrongInput
from profiles.gpus import Gpu
from profiles.locations import lock_file

if TYPE_CHECKING:
    from profiles.lock import Lock
    from profiles.schema import Profile


def check(profile: Profile, lock: Lock | None = None) -> list[str]:
    """Warnings: what the answer rests on that is no fact. Every platform of the profile is checked.

    lock: its probed facts overrule the table; None: the profile's own lock is read, if there is one.
    Raises WrongInput: the profile asks for what cannot work, with what to choose instead.
    """
    try:
        return sorted(set(problems(profile, lock or own_lock(profile))))
    except WrongInput as error:
        raise WrongInput(f"profile `{profile.name}`: {error.what}", error.next_step) from None


def problems(profile: Profile, lock: Lock | None) -> list[str]:
    """As `check`, without the profile's name in the errors."""
    gpu = gpus.gpu(profile.gpu.type) if profile.gpu else None
    check_tag(profile)
    check_attention(profile, gpu)
    warnings: list[str] = []
    for platform in profile.platforms:
        facts = bases.facts_of(profile, platform, lock)
        if profile.base.debian is not None:
            check_debian(profile, gpu, facts)
            continue
        if gpu is not None:
            warnings += coverage.check(gpu, facts)
        warnings += precision.check(profile.precision, gpu, facts)
        if profile.base.repository == bases.repository():
            warnings += owned.check(profile.python.requirements, facts)
    return warnings


def own_lock(profile: Profile) -> Lock | None:
    """The profile's lock. pydantic's models of it are only built when there is a file."""
    if not lock_file(profile.name).is_file():
        return None
    from profiles import lock

    return lock.read_good(profile.name)  # a build says that a damaged one is, and `lock` must get past it


def check_tag(profile: Profile) -> None:
    """NGC tags look like 25.06-py3; a month NVIDIA left out, or a forgotten -py3, is caught before any request."""
    import re

    tag = profile.base.tag
    if profile.base.repository != bases.repository() or tag is None:
        return
    if re.fullmatch(r"\d\d\.\d\d", tag):
        raise WrongInput(f"{profile.base.name}: NVIDIA's tags end in -py3", f"write {tag}-py3")
    if bases.skipped(tag):
        later = next(known for known in bases.tags() if known > tag)
        earlier = [known for known in bases.tags() if known < tag][-1]
        raise WrongInput(f"{profile.base.name}: there is no such month", f"choose {earlier} or {later}")


def check_attention(profile: Profile, gpu: Gpu | None) -> None:
    """TE and flash-attn run on GPUs only, flash-attn from Ampere on."""
    if profile.attention in ("auto", "sdpa"):
        return
    if gpu is None:
        raise WrongInput(f"attention `{profile.attention}` needs a GPU", "choose sdpa")
    if gpu.compute_capability < (8, 0):
        raise WrongInput(
            f"attention `{profile.attention}` needs compute capability 8.0, {gpu.name} has {gpu.cc}", "choose sdpa"
        )
    if profile.attention == "te" and profile.base.debian is not None:
        raise WrongInput(f"attention `te` needs Transformer Engine, which {profile.base.name} has not", "choose sdpa")


def check_debian(profile: Profile, gpu: Gpu | None, facts: BaseFacts) -> None:
    """A bootstrapped base has no Transformer Engine."""
    if gpu is not None and precision.RULES[profile.precision].te is not None:
        raise WrongInput(
            f"{profile.precision} needs Transformer Engine, which {profile.base.name} has not",
            f"choose bf16, or an image of {bases.repository()} as base",
        )
    precision.check(profile.precision, gpu, facts)
