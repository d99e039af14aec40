"""Rows of the table of profiles."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from profiles import gpus
from profiles.errors import WrongInput
from profiles.load import load, names
from profiles.locations import lock_file

if TYPE_CHECKING:
    from profiles.schema import Profile


def rows(folder: Path | None = None) -> list[dict[str, Any]]:
    """One row per profile, sorted by name: name, gpu, count, vram_gb (all GPUs together, as sold), precision, zero,
    base, locked (True, False, 'stale'), description, problem (None, or why it cannot be loaded)."""
    return [row(name, folder) for name in names(folder)]


def row(name: str, folder: Path | None = None) -> dict[str, Any]:
    """One row; a profile that cannot be loaded has its `problem` and empty cells."""
    try:
        profile = load(name, folder=folder)
        pinned = locked(profile)
    except WrongInput as error:
        keys = ("gpu", "count", "vram_gb", "precision", "zero", "base", "locked", "description")
        return {"name": name, **dict.fromkeys(keys), "problem": f"{error.what}: {error.next_step}"}
    gpu = gpus.gpu(profile.gpu.type) if profile.gpu else None
    count = profile.gpu.count if profile.gpu else 0
    return {
        "name": profile.name,
        "gpu": gpu.key if gpu else None,
        "count": count,
        "vram_gb": gpu.memory_gb * count if gpu else 0,
        "precision": profile.precision,
        "zero": profile.parallelism.zero,
        "base": profile.base.name,
        "locked": pinned,
        "description": profile.description,
        "problem": None,
    }


def locked(profile: Profile) -> bool | str:
    """Whether the profile has a lock: True, False, or 'stale' when it does not fit the profile any more."""
    if not lock_file(profile.name).is_file():
        return False
    from profiles import lock

    found = lock.read(profile.name)
    if found is None:
        return False
    return "stale" if lock.stale(profile, found) else True


def details(name: str) -> dict[str, Any]:
    """One profile in full, as resolved, with what follows from its choices."""
    from profiles.consequences import consequences

    profile = load(name)
    return {**profile.model_dump(mode="json", exclude_none=True), "consequences": consequences(profile)}
