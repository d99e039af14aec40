"""The local record "digest D is in repository R since T": it saves the question, and may be wrong.

A registry can have collected its garbage meanwhile; then the manifest is refused with MANIFEST_BLOB_UNKNOWN, the
record is dropped, and everything is asked once. So a wrong record costs time, never a broken image.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import time
from collections.abc import Collection
from pathlib import Path

FRESH = 14 * 86400.0  # seconds a record is believed


class Record:
    """One JSON file per repository in `folder`; any number of processes may use it."""

    def __init__(self, folder: Path, fresh_seconds: float = FRESH) -> None:
        self.folder, self.fresh = folder, fresh_seconds

    def known(self, registry: str, repository: str) -> frozenset[str]:
        """Digests believed to be there."""
        now = time.time()
        blobs = self.load(self.path(registry, repository))
        return frozenset(digest for digest, since in blobs.items() if now - self.fresh < since <= now)

    def add(self, registry: str, repository: str, digests: Collection[str]) -> None:
        """Notes digests that were just seen there. A full disk or read-only folder costs only the record."""
        path = self.path(registry, repository)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with (self.folder / ".lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                now = time.time()
                blobs = self.load(path) | dict.fromkeys(digests, now)
                blobs = {digest: since for digest, since in blobs.items() if now - since < self.fresh}
                new = path.with_suffix(f".{os.getpid()}")
                value = {"registry": registry, "repository": repository, "blobs": blobs}
                new.write_text(json.dumps(value, indent=1, sort_keys=True))
                new.replace(path)
        except OSError:
            return

    def drop(self, registry: str, repository: str) -> None:
        """Forgets all about a repository."""
        self.path(registry, repository).unlink(missing_ok=True)

    def path(self, registry: str, repository: str) -> Path:
        return self.folder / (hashlib.sha256(f"{registry}/{repository}".encode()).hexdigest()[:32] + ".json")

    def load(self, path: Path) -> dict[str, float]:
        try:
            blobs = json.loads(path.read_bytes())["blobs"]
            return {str(digest): float(since) for digest, since in blobs.items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return {}
