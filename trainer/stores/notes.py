"""Where an upload session of an earlier process is remembered: for protocols in which only its secret URI can go on.

Such a URI lets anybody write that one object for a week, so the notes are files of mode 0600 in a folder of mode 0700
of this machine's cache, and they are removed with the session.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from pathlib import Path

WEEK = 7 * 86400.0  # seconds that a session lives (Google Cloud Storage, "resumable uploads")


class Notes:
    """Text under a key. A folder that cannot be written means that nothing is remembered, which is no error."""

    def __init__(self) -> None:
        own = os.environ.get("STOKER_CACHE")
        everybodys = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")  # noqa: PTH111 - never raises
        self.folder = Path(own, "uploads") if own else Path(everybodys, "stoker", "uploads")

    def read(self, *key: str) -> str | None:
        """What was kept less than a week ago."""
        try:
            path = self._path(key)
            return path.read_text() if time.time() - path.stat().st_mtime < WEEK else None
        except (OSError, UnicodeDecodeError):
            return None

    def write(self, text: str, *key: str) -> None:
        """Keeps the text, whole or not at all."""
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.folder.chmod(0o700)
            self._sweep()
            descriptor, name = tempfile.mkstemp(dir=self.folder)  # mode 0600
            with os.fdopen(descriptor, "w") as file:
                file.write(text)
            Path(name).replace(self._path(key))
        except OSError:
            pass

    def remove(self, *key: str) -> None:
        """Forgets it."""
        try:
            self._path(key).unlink(missing_ok=True)
        except OSError:
            pass

    def _path(self, key: tuple[str, ...]) -> Path:
        return self.folder / hashlib.sha256("\0".join(key).encode("utf-8", "surrogateescape")).hexdigest()

    def _sweep(self) -> None:
        for path in self.folder.iterdir():
            if time.time() - path.stat().st_mtime > WEEK:
                path.unlink(missing_ok=True)
