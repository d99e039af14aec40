"""One process per run: a lock that its holder's death releases, so that no stale one is ever left."""

from __future__ import annotations

import fcntl
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from profiles.errors import OutsideFailed, Refused

LOOKS = 5  # times that a lock is tried again


class Locks:
    """flock on FOLDER/RUN.lock. A holder may take its own lock again; it is free when every taking was given back."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._held: dict[str, tuple[int, int]] = {}  # run -> (file, takings)

    @contextmanager
    def hold(self, run: str) -> Iterator[None]:
        """Holds the run's lock until the block ends. Raises Refused when another live process has it."""
        self.take(run)
        try:
            yield
        finally:
            self.release(run)

    @contextmanager
    def waiting(self, name: str) -> Iterator[None]:
        """Holds FOLDER/NAME.turn until the block ends, after whoever has it now. Raises OutsideFailed."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            file = os.open(self.path(name).with_suffix(".turn"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as failure:
            raise OutsideFailed(
                f"a lock cannot be made: {failure.strerror}", f"mend the rights of {self.folder}"
            ) from None
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
        finally:
            os.close(file)

    def take(self, run: str) -> None:
        """Takes it. Raises Refused (who has it), OutsideFailed (the folder cannot be written)."""
        file, takings = self._held.get(run, (-1, 0))
        if not takings:
            file = self._locked(run)
        self._held[run] = (file, takings + 1)

    def release(self, run: str) -> None:
        """Gives one taking back; none is nothing."""
        file, takings = self._held.get(run, (-1, 0))
        if takings > 1:
            self._held[run] = (file, takings - 1)
        elif takings:
            del self._held[run]
            os.close(file)

    def release_all(self) -> None:
        """Gives everything back."""
        for file, _ in self._held.values():
            os.close(file)
        self._held.clear()

    def holder(self, run: str) -> str:
        """Who else holds it: "process 1234", "" for nobody."""
        if run in self._held:
            return ""
        try:
            file = os.open(self.path(run), os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            return ""
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return owner(file)
        finally:
            os.close(file)
        return ""

    def path(self, run: str) -> Path:
        """Where a run's lock is."""
        return self.folder / (re.sub(r"[^A-Za-z0-9._-]", "_", run) + ".lock")

    def _locked(self, run: str) -> int:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            file = os.open(self.path(run), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as failure:
            raise OutsideFailed(
                f"the lock of `{run}` cannot be made: {failure.strerror}", f"mend the rights of {self.folder}"
            ) from None
        try:
            locked(file)
        except OSError as failure:
            words = owner(file)
            os.close(file)
            if isinstance(failure, BlockingIOError):
                raise Refused(
                    f"`{run}` is being launched by {words}", "wait for it to end; two at once would rent two machines"
                ) from None
            raise OutsideFailed(
                f"{self.folder} cannot be locked: {failure.strerror}", "put .stoker on a local disk"
            ) from None
        try:
            os.ftruncate(file, 0)
            os.pwrite(file, f"process {os.getpid()}\n".encode(), 0)
        except OSError:  # a full disk: the lock holds without its holder's name
            pass
        return file


def locked(file: int) -> None:
    """Locks it. Raises BlockingIOError when another process has it for longer than a look at it takes (`holder`)."""
    for left in range(LOOKS, -1, -1):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if not left:
                raise
            time.sleep(0.02)


def owner(file: int) -> str:
    """What the holder wrote into it."""
    words = os.pread(file, 80, 0).decode("utf-8", "replace").strip()
    return words if words.isprintable() and words else "another process"
