"""What the `lock` task does: resolve again, say what changed, and keep it (or, with --check, only say)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from images.locks.lock import changes, make
from images.locks.wheels import canonical_name
from images.workbench import Workbench
from profiles import lock as files
from profiles.errors import WrongInput
from profiles.load import load


def relock(bench: Workbench, names: Sequence[str], check: bool, packages_file: str) -> dict[str, list[str]]:
    """profile -> what is different from its lock; the locks are written unless `check`.

    Nothing is written before all profiles are resolved. Raises what `make` raises, naming the profile.
    """
    packages = read_packages(packages_file) if packages_file else None
    found: dict[str, list[str]] = {}
    fresh = []
    for name in names:
        profile = load(name)
        bench.progress.say(f"resolving {profile.name}")
        lock = make(bench, profile, packages)
        # A damaged lock is replaced: that is what its error says to do. Asked whether it has drifted, it is wrong.
        old = files.read(profile.name) if check else files.read_good(profile.name)
        found[profile.name] = changes(old, lock)
        # Layers are what the wheels come out as: another compressor makes others of the same, which is no drift.
        if found[profile.name] or old is None or old.layers != lock.layers:
            fresh.append(lock)
    for lock in [] if check else fresh:
        files.write(lock)
    return found


def read_packages(path: str) -> Mapping[str, str]:
    """`pip list --format=json` of a base: name -> version. Raises WrongInput."""
    try:
        rows = json.loads(Path(path).read_text(encoding="utf-8"))
        if not isinstance(rows, list):
            raise TypeError
        return {canonical_name(str(row["name"])): str(row["version"]) for row in rows}
    except (OSError, ValueError, KeyError, TypeError):
        raise WrongInput(
            f"{path} is not the output of pip list --format=json",
            "run `python3 -m pip list --format=json` inside the base and save what it prints",
        ) from None
