"""The folder of one simulator run: volumes, logs, and what a killed run must be found by."""

from __future__ import annotations

import fcntl
import secrets
import shutil
import tempfile
from pathlib import Path
from typing import IO


class State:
    """`folder` is kept after the run, and its `id` with it; without one, a temporary folder that goes at `close`.

    Raises ValueError for a folder that another living run holds: it would take that one's bodies for leftovers.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._kept = folder is not None
        self._folder = folder
        self._id = ""
        self._lock: IO[bytes] | None = None
        if folder is not None:
            self._hold(self.root / "lock")

    @property
    def root(self) -> Path:
        """The folder, made when it is first needed."""
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="stoker-simulator-"))
        self._folder.mkdir(parents=True, exist_ok=True)
        return self._folder

    @property
    def id(self) -> str:
        """Names everything of this run, and of the killed one before it with the same folder."""
        if not self._id:
            mark = self.root / "id"
            if not mark.exists():
                mark.write_text(secrets.token_hex(8))
            self._id = mark.read_text().strip()
        return self._id

    def part(self, kind: str, name: str) -> Path:
        """root/kind/name, made. Raises ValueError for a name that would leave it."""
        if not name or "/" in name or name in (".", ".."):
            raise ValueError(f"no name for a folder: {name!r}")
        path = self.root / kind / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    def drop(self, kind: str, name: str) -> None:
        """root/kind/name, gone with all that is in it."""
        if self._folder is not None and name and "/" not in name and name not in (".", ".."):
            shutil.rmtree(self._folder / kind / name, ignore_errors=True)

    def close(self) -> None:
        """The end of a temporary folder; a kept one is free for another run."""
        if self._lock is not None:
            self._lock.close()
        if not self._kept and self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def _hold(self, path: Path) -> None:
        """The kernel lets go of it when we die, however we die."""
        self._lock = path.open("ab")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._lock.close()
            raise ValueError(f"another simulator uses {path.parent}") from None
