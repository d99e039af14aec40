"""Room on the disk: whether the next checkpoint fits, and which older ones could make way for it."""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from trainer.checkpoint.retention import expendable
from trainer.errors import OUTSIDE_FAILED, TrainerError


def free(path: Path) -> int:
    """Bytes that a writer without privileges can still put below `path`, which need not be there yet.

    statvfs(3): f_bavail counts out the blocks reserved for root. A quota of the user or of a network volume is not
    seen: only the write itself tells. Raises TrainerError.
    """
    there = next(place for place in [path.absolute(), *path.absolute().parents] if place.exists())
    try:
        told = os.statvfs(there)
    except OSError as error:
        what = f"cannot ask for the free space of {there}: {error.strerror}"
        raise TrainerError(what, "check the disk or the mount", OUTSIDE_FAILED) from None
    return told.f_bavail * told.f_frsize


def taken(path: Path) -> int:
    """Bytes of all files below a folder (or of one file), links not followed; what vanishes counts nothing."""
    total = 0
    for one in [path, *path.rglob("*")]:
        try:
            told = one.lstat()
        except OSError:
            continue
        total += told.st_size if stat.S_ISREG(told.st_mode) else 0
    return total


def check(root: Path, needed: int, reserve: int = 0) -> str | None:
    """Why `needed` more bytes do not fit below `root` with `reserve` bytes left over; None when they do."""
    left = free(root)
    if needed + reserve <= left:
        return None
    spare = f" and {size(reserve)} to spare" if reserve else ""
    short = size(needed + reserve - left)
    return f"the next checkpoint needs {size(needed)}{spare}, {root} has {size(left)} free: {short} too little"


def early(
    steps: Sequence[int],
    sizes: Mapping[int, int],
    needed: int,
    free: int,
    keep: int,
    keep_every: int = 0,
    protect: Collection[int] = (),
) -> list[int]:
    """The oldest checkpoints whose going now makes `needed` bytes fit into `free`; [] when none must go, or when not
    even all that may go would make room, so that nothing is lost for nothing.

    They are those that the next checkpoint would push out anyway (keep - 1 older ones stay beside it), a little before
    it is there. sizes: bytes by step, 0 for one that is not in it; the newest step stays, and so does `protect`, which
    names the newest verified one, the best, and what a required remote store lacks.
    """
    if needed <= free:
        return []
    chosen: list[int] = []
    for step in expendable(steps, max(1, keep - 1), keep_every, protect):
        chosen.append(step)
        free += sizes.get(step, 0)
        if needed <= free:
            return chosen
    return []


def size(count: int) -> str:
    """Bytes as people read them: 512 B, 3.4 MB, 12.0 GB (powers of 1000, as disks are sold)."""
    if abs(count) < 1000:
        return f"{count} B"
    value = count / 1000
    for unit in ("kB", "MB", "GB", "TB"):
        if abs(value) < 999.95:
            return f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} PB"
