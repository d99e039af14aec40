"""A lock on a file that the ranks of one host share. The kernel drops it when its process dies."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path


class Lock:
    """flock(2): many may hold it shared, or one exclusively. Two Locks exclude each other in one process as well."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._held: int | None = None

    def take(self, shared: bool, wait: Callable[[], bool] | None = None) -> bool:
        """Takes it, or changes how it is held (not in one step: look again at what it guards). Whether it did.

        wait: asked twenty times a second while another holds it, False gives up; None: does not wait. Raises OSError
        where the file system has no locks or the folder cannot be written.
        """
        if self._held is None:
            self._held = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        while True:
            try:
                fcntl.flock(self._held, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
                return True
            except BlockingIOError:
                if wait is None or not wait():
                    self.release()
                    return False
                time.sleep(0.05)

    def touch(self) -> None:
        """Notes that what it guards was used now."""
        if self._held is not None:
            os.utime(self._held)

    def release(self) -> None:
        """Lets others have it. Releasing twice is fine."""
        if self._held is not None:
            os.close(self._held)
            self._held = None


def always() -> bool:
    """For a wait without end."""
    return True
