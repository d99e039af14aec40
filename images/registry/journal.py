"""What is known of unfinished uploads, on disk, so that a new process goes on in the middle of a blob.

One small file per registry, repository and digest. The upload's Location is a secret (its state is signed): 0600.
A lock per blob keeps two processes from writing into one upload; the kernel drops it when a process dies.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from profiles.errors import OutsideFailed

POLL = 0.1  # seconds between looks at a lock that another process holds


@dataclass(frozen=True, slots=True)
class Entry:
    """An open upload. offset: bytes the server has acknowledged; opened: seconds since 1970."""

    registry: str
    repository: str
    digest: str
    size: int
    location: str
    offset: int
    opened: float


class Slot:
    """The place of one blob, held by this process."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def load(self) -> Entry | None:
        """What an earlier process left; an unreadable file is as good as none."""
        try:
            return Entry(**json.loads(self.path.read_bytes()))
        except (OSError, ValueError, TypeError):
            return None

    def save(self, entry: Entry) -> None:
        """Atomic: a killed process leaves the old entry or the new one. Raises OutsideFailed (full disk)."""
        new = self.path.with_suffix(".new")
        try:
            with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as out:
                json.dump(asdict(entry), out)
            new.replace(self.path)
        except OSError as error:
            raise OutsideFailed(
                f"cannot write the upload journal {self.path}: {error.strerror}", "free some disk space"
            ) from None

    def drop(self) -> None:
        self.path.unlink(missing_ok=True)


class Journal:
    """The open uploads of one folder, which is made when it is first needed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @contextmanager
    def hold(
        self, registry: str, repository: str, digest: str, waiting: Callable[[], None] = lambda: None
    ) -> Iterator[Slot]:
        """The blob's slot, for this process alone; waits while another has it (`waiting` is called once then)."""
        key = hashlib.sha256(f"{registry}/{repository}@{digest}".encode()).hexdigest()[:32]
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = locked(self.folder / f"{key}.lock", waiting)
        except OSError as error:
            raise OutsideFailed(
                f"cannot use the upload journal in {self.folder}: {error.strerror}",
                "free some disk space, or make the folder writable",
            ) from None
        try:
            yield Slot(self.folder / f"{key}.json")
        finally:
            (self.folder / f"{key}.lock").unlink(missing_ok=True)
            os.close(lock)

    def entries(self) -> list[Entry]:
        """All unfinished uploads."""
        found = (Slot(path).load() for path in sorted(self.folder.glob("*.json")))
        return [entry for entry in found if entry is not None]


def locked(path: Path, waiting: Callable[[], None]) -> int:
    """A descriptor that holds the lock at `path`. The holder before us unlinks it: then it is taken anew."""
    told = False
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.exists() and os.fstat(descriptor).st_ino == path.stat().st_ino:
                return descriptor
        except BlockingIOError:
            if not told:
                waiting()
                told = True
            time.sleep(POLL)
        except FileNotFoundError:
            pass
        os.close(descriptor)
