"""Files on their way in: written under a temporary name, seen under their own name only when complete.

A killed process leaves its temporary file behind. Each writer holds a lock (flock) on its file, so a later run can
tell the dead from the living without clocks or process numbers: whose lock is free, is dead.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from images.progress import size as shown
from profiles.errors import OutsideFailed

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


@dataclass(frozen=True, slots=True)
class Incoming:
    """A temporary file being written, locked while its writer lives."""

    file: IO[bytes]
    path: Path

    def place(self, path: Path) -> None:
        """Gives the complete file its own name, atomically, readable by all as far as the folder is.

        Not synced to the disk: a digest is checked again by whoever reads it, and a blob can be built again.
        """
        self.file.flush()
        os.fchmod(self.file.fileno(), 0o644)
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path.replace(path)


@contextmanager
def incoming(folder: Path) -> Iterator[Incoming]:
    """A new locked file in `folder`, gone at the end of the block unless it was placed."""
    folder.mkdir(parents=True, exist_ok=True)
    fresh = locked(folder)
    try:
        with fresh.file:
            yield fresh
    finally:
        fresh.path.unlink(missing_ok=True)


def locked(folder: Path) -> Incoming:
    while True:
        descriptor, name = tempfile.mkstemp(dir=folder)
        fresh = Incoming(os.fdopen(descriptor, "w+b"), Path(name))
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        with suppress(FileNotFoundError):
            if fresh.path.stat().st_ino == os.fstat(descriptor).st_ino:
                return fresh
        fresh.file.close()  # a sweep took it for dead between its creation and its lock


def sweep(folder: Path) -> int:
    """Removes what dead writers left in `folder`. Returns the bytes freed."""
    freed = 0
    for path in folder.glob("*") if folder.is_dir() else ():
        with suppress(OSError), path.open("rb") as handle:  # locked by a living writer, or gone meanwhile
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            freed += os.fstat(handle.fileno()).st_size
            path.unlink()
    return freed


@contextmanager
def room(folder: Path, needed: int, what: str) -> Iterator[None]:
    """Turns a full disk, an exhausted quota or a file size limit into a clear OutsideFailed.

    needed: bytes the block writes at most; what: 'layer wheels', for the message.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        reason = (error.strerror or "disk full").lower()
        free = shutil.disk_usage(folder).free
        raise OutsideFailed(
            f"{reason}: {what} needs up to {shown(needed)}, {shown(free)} are free in {folder}",
            "free some space there (`inv prune` removes unused blobs), then run the same command again",
        ) from None
