"""What a run needs of a machine: by its profile, its base image and its plan; nobody's taste."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from profiles import bases, gpus
from profiles.bases import DriverFloor
from profiles.errors import WrongInput

if TYPE_CHECKING:
    from fleet.providers.values import Volume
    from profiles.lock import Lock
    from profiles.schema import Profile


@dataclass(frozen=True, slots=True)
class Needs:
    """gpus: keys of profiles/tables/gpus.yaml that may be rented, empty: none is needed; count: of them in one machine;
    vram_mib: least memory of each; floors: driver that the base needs, by GPU, None: not known; cuda: least CUDA that
    the driver must report, "" when not known; disk_gb: GB (10^9) for image, data and checkpoints; ram_gb: for the
    processes of one machine; nvlink: whether the speed of the plan rests on NVLink; hints: GB of disk that the profile
    asks for, by provider; volume: one that exists already, which the machine must be able to attach; volume_gb: what is
    written to it instead of the disk; pulled_gb: of the image, which every machine pulls once."""

    gpus: tuple[str, ...]
    count: int
    vram_mib: int = 0
    floors: Mapping[str, DriverFloor | None] = field(default_factory=dict)
    cuda: str = ""
    disk_gb: int = 0
    ram_gb: float = 0.0
    nvlink: bool = False
    hints: Mapping[str, int] = field(default_factory=dict)
    volume: Volume | None = None
    volume_gb: int = 0
    pulled_gb: float = 0.0

    def disk_at(self, provider: str) -> int:
        """GB to ask a provider for: the larger of what is needed and what the profile hints."""
        return max(self.disk_gb, self.hints.get(provider, 0), 1)


def needs_of(
    profile: Profile,
    *,
    counts: int | None = None,
    named: tuple[str, ...] = (),
    any_gpu: bool = False,
    disk_bytes: float = 0.0,
    ram_bytes: float = 0.0,
    lock: Lock | None = None,
) -> Needs:
    """The needs of a profile's image. counts: GPUs instead of the profile's; named: GPU types instead of its own;
    any_gpu: also all others with as much memory, and code for them in the base.

    Raises WrongInput for an unknown GPU, and for GPUs where the profile has none.
    """
    hints = disk_hints(profile)
    disk = math.ceil(disk_bytes / 1e9)
    if profile.gpu is None:
        if named or counts:
            raise WrongInput(f"profile {profile.name} trains on the processor alone", "name a profile with a GPU")
        return Needs((), 0, disk_gb=disk, ram_gb=ram_bytes / 1e9, hints=hints)
    own = gpus.gpu(profile.gpu.type)
    facts = bases.facts_of(profile, None, lock)
    wanted = tuple(gpus.gpu(key).key for key in named) or (own.key,)
    if any_gpu:
        wanted = (*wanted, *(key for key in alike(profile, own.key) if key not in wanted))
    least = min(gpus.gpu(key).memory_mib for key in wanted)
    count = counts or profile.gpu.count
    return Needs(
        gpus=wanted,
        count=count,
        vram_mib=least,
        floors={key: bases.driver_floor(facts, gpus.gpu(key)) for key in wanted},
        cuda=least_cuda(facts),
        disk_gb=disk,
        ram_gb=ram_bytes / 1e9,
        nvlink=count > 1 and own.nvlink_gbs is not None and not any_gpu,
        hints=hints,
    )


def alike(profile: Profile, key: str) -> list[str]:
    """Other GPUs that the same image runs on with the same precision and at least the same memory."""
    from profiles import coverage, precision

    own, facts = gpus.gpu(key), bases.facts_of(profile)
    found = []
    for one in gpus.table().values():
        if one.key == key or one.memory_mib < own.memory_mib:
            continue
        runs = coverage.judge(one, facts).why_not is None
        if runs and precision.judge(profile.precision, one, facts).why_not is None:
            found.append(one.key)
    return found


def least_cuda(facts: bases.BaseFacts) -> str:
    """The CUDA that a driver of the branch that does for all GPUs reports: 13.3 runs on R580, which reports 13.0."""
    cuda = bases.numbers(facts.cuda.value or "")[:2]
    if len(cuda) < 2:
        return ""
    rows = bases.table()["drivers"]
    row = rows.get(f"{cuda[0]}.{cuda[1]}")
    own = f"{cuda[0]}.{cuda[1]}"
    if row is None:
        return own
    return next((key for key, other in rows.items() if other["full"] == row["branch"]), own)


def disk_hints(profile: Profile) -> dict[str, int]:
    """GB of disk that the profile asks of a provider."""
    asked = {"runpod": profile.providers.runpod.disk_gb, "vast": profile.providers.vast.disk_gb}
    return {name: value for name, value in asked.items() if value}
