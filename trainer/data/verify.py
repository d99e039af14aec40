"""Every shard is hashed once; a stamp remembers it, so that the next start is instant."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from pathlib import Path

from trainer.data.index import AGAIN, Shard
from trainer.data.lock import Lock, always
from trainer.data.shards import check_size
from trainer.errors import TrainerError

NAME = "verified.json"
CHUNK = 1 << 22  # bytes


class Stamps:
    """Which files had which sha256, kept in `folder`/verified.json beside the run or in the cache, never in the data.

    A stamp holds as long as size, modification time (ns) and inode of the file do. Where the folder cannot be written
    (or is None) stamps live in memory only. The ranks of a host may share the folder; a lost stamp costs one hashing.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self._stamps: dict[str, list[int | str]] = {}
        self._lock = threading.Lock()
        if folder is not None:
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError:
                self.folder = None
        self._read()

    def holds(self, path: Path, sha256: str) -> bool:
        """Whether the file was found to have this hash and is still the same."""
        with self._lock:
            return self._stamps.get(str(path.absolute())) == _stamp(path.stat(), sha256)

    def keep(self, path: Path, sha256: str, seen: os.stat_result) -> None:
        """Remembers the hash of the file that `seen` describes."""
        with self._lock:
            self._read()
            self._stamps[str(path.absolute())] = _stamp(seen, sha256)
            if self.folder is None:
                return
            partial = self.folder / f".{NAME}.{os.getpid()}.{threading.get_ident()}.partial"
            try:
                partial.write_text(json.dumps(self._stamps, indent=0, sort_keys=True))
                partial.replace(self.folder / NAME)
            except OSError:  # read-only or full: the memory has it
                partial.unlink(missing_ok=True)

    def lock(self, sha256: str) -> Lock | None:
        """For one rank to hash while the others wait; None where there is nowhere to put it."""
        return None if self.folder is None else Lock(self.folder / f"hash-{int(sha256[:2], 16) % 8}.lock")

    def refresh(self) -> None:
        """Learns what other ranks found out since."""
        with self._lock:
            self._read()

    def _read(self) -> None:
        if self.folder is None:
            return
        try:
            found = json.loads((self.folder / NAME).read_text())
        except (OSError, ValueError):
            return
        if isinstance(found, dict):
            self._stamps.update(found)


def verify(path: Path, shard: Shard, stamps: Stamps) -> None:
    """Checks size and, unless there is a stamp, hash. Raises TrainerError for a missing, truncated or altered shard."""
    check_size(path, shard)
    if stamps.holds(path, shard.sha256):
        return
    lock = stamps.lock(shard.sha256)
    try:
        if lock is not None and _locked(lock):
            stamps.refresh()
            if stamps.holds(path, shard.sha256):
                return
        seen = check_size(path, shard)
        if sha256_of_file(path) != shard.sha256:
            raise altered(path, shard)
        stamps.keep(path, shard.sha256, seen)
    finally:
        if lock is not None:
            lock.release()


def altered(where: Path | str, shard: Shard) -> TrainerError:
    """The error for a file that is not what the index says."""
    what = f"the shard {where} was altered: its sha256 is not {shard.sha256[:12]}... as in the index"
    return TrainerError(what, f"copy {shard.file} again from where it is whole, or {AGAIN}")


def sha256_of_file(path: Path) -> str:
    """As hex. Raises TrainerError for a file that cannot be read."""
    found = hashlib.sha256()
    try:
        with path.open("rb", buffering=0) as file:
            while chunk := file.read(CHUNK):
                found.update(chunk)
    except OSError as error:
        raise TrainerError(f"cannot read {path}: {error.strerror}", "make it readable, or copy it again") from None
    return found.hexdigest()


def _locked(lock: Lock) -> bool:
    try:
        return lock.take(shared=False, wait=always)
    except OSError:  # a file system without locks: every rank hashes for itself
        return False


def _stamp(seen: os.stat_result, sha256: str) -> list[int | str]:
    return [seen.st_size, seen.st_mtime_ns, seen.st_ino, sha256]
