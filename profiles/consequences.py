"""What follows from a profile's choices and is good to know before money is spent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from profiles import bases, checks, gpus, precision

if TYPE_CHECKING:
    from profiles.lock import Lock
    from profiles.schema import Profile

# Environment names seen in guides that no program reads; facts/seeds.md, C27.
UNREAD = {"TRANSFORMER_ENGINE_TYPE_SAFE_FP8"}


def consequences(profile: Profile, lock: Lock | None = None) -> list[str]:
    """One line each, most important first. Raises WrongInput as checks.check does."""
    doubts = checks.check(profile, lock)
    found = [*of_base(profile, lock or checks.own_lock(profile)), *of_choices(profile)]
    return [*found, *doubts]


def of_base(profile: Profile, lock: Lock | None) -> list[str]:
    """Driver floor, recipes of the base's Transformer Engine, the gate on delayed scaling's state."""
    gpu = gpus.gpu(profile.gpu.type) if profile.gpu else None
    facts = bases.facts_of(profile, None, lock)
    if gpu is None or profile.base.image is None:
        return []
    found: list[str] = []
    floor = bases.driver_floor(facts, gpu)
    if floor is None:
        found.append(f"{facts.base}: its CUDA is not known, so neither is the driver it needs; run `inv lock`")
    else:
        forward = "; GeForce has no forward compatibility" if gpu.geforce else ""
        found.append(f"{facts.base} (CUDA {facts.cuda}) needs a driver {floor}{forward}")
    engine = facts.transformer_engine.value
    if engine and gpu.compute_capability >= (8, 9):
        if not bases.at_least(engine, "2.2"):
            found.append(f"Transformer Engine {facts.transformer_engine}: FP8 by delayed scaling only")
        if profile.precision == "fp8-delayed" and bases.at_least(engine, "2.18"):
            found.append(
                f"Transformer Engine {facts.transformer_engine} refuses to load the state of delayed scaling unless "
                "NVTE_ALLOW_UNSAFE_PICKLE_EXTRA_STATE=1; fp8-current has no state"
            )
    if gpu.compute_capability < (8, 9):
        found.append(f"{gpu.name} has no FP8 hardware: training runs in {profile.precision}")
    return found


def of_choices(profile: Profile) -> list[str]:
    """Combinations that work, but not as one may think."""
    found: list[str] = []
    count = profile.gpu.count if profile.gpu else 1
    low = precision.RULES[profile.precision].te is not None
    if profile.parallelism.zero and count == 1:
        found.append("ZeRO shards over GPUs: with one GPU it saves nothing")
    if profile.parallelism.zero == 3 and low:
        found.append(
            f"{profile.precision} under ZeRO-3 is hardly tested by anyone: the smoke test must see FP8 modules active"
        )
    if profile.parallelism.offload != "none":
        found.append("offload moves states over PCIe in every step: only where nothing else fits")
    if profile.precision == "fp16":
        found.append("fp16 needs loss scaling; bf16 does not, from compute capability 8.0 on")
    if profile.ipc == "host" and profile.shm_size:
        found.append("shm_size has no effect with ipc: host")
    if profile.system.packages:
        found.append("system packages need BuildKit once, for the foundation image")
    found += [f"{name} is read by no program: leave it out" for name in profile.env if name in UNREAD]
    return found
