"""A bounded folder of fetched shards, shared by the ranks of a host. A shard in use is never removed."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from trainer.data.index import Shard
from trainer.data.lock import Lock, always
from trainer.data.verify import Stamps, verify
from trainer.errors import OUTSIDE_FAILED, TrainerError

PATIENCE = 600.0  # seconds to wait for room that other ranks hold

say = logging.getLogger("trainer.data")


@dataclass
class Held:
    """A whole shard in the cache that stays there until it is released."""

    path: Path
    lock: Lock

    def release(self) -> None:
        """It may be removed now."""
        self.lock.release()


class Cache:
    """Files <sha256>.bin of at most `limit` bytes together, the least recently used removed first.

    Every shard has a lock file: held shared by who reads it, exclusively by who fetches or removes it. Lock files stay
    (a removed one could be held by two); their modification time is the time of last use.
    """

    def __init__(self, folder: Path, limit: int, stamps: Stamps) -> None:
        self.folder, self.limit, self.stamps = folder, limit, stamps
        try:
            folder.mkdir(parents=True, exist_ok=True)
            gate = self._lock("cache")
            gate.take(shared=False, wait=always)
            self._sweep()
            gate.release()
        except OSError as error:
            what = f"cannot use {folder} as shard cache: {error.strerror}"
            raise TrainerError(what, "set data.cache to a folder on a local disk", OUTSIDE_FAILED) from None

    def hold(self, shard: Shard, fetch: Callable[[Path], None], going: Callable[[], bool] = always) -> Held:
        """The shard, fetched if it is not there; one rank fetches while the others wait.

        `fetch` fills a file and raises unless its hash is right. `going`: False ends the waiting. Raises TrainerError
        when there is no room because everything is in use, and what `fetch` raises.
        """
        lock, path = self._lock(shard.sha256), self.folder / f"{shard.sha256}.bin"
        while True:
            if not lock.take(shared=True, wait=going):
                break
            if self._whole(path, shard):
                lock.touch()
                return Held(path, lock)
            if not lock.take(shared=False, wait=going):
                break
            try:
                if not path.exists():
                    self._fetch(shard, path, fetch, going)
            finally:
                lock.release()
        raise TrainerError(f"waiting for {shard.file} was broken off", "", OUTSIDE_FAILED)

    def _whole(self, path: Path, shard: Shard) -> bool:
        """A cached file that is no longer what was fetched is removed, to be fetched again."""
        if not path.exists():
            return False
        try:
            verify(path, shard, self.stamps)
        except TrainerError as error:
            say.warning("%s; fetching it again", error.what)
            path.unlink(missing_ok=True)
            return False
        return True

    def _fetch(self, shard: Shard, path: Path, fetch: Callable[[Path], None], going: Callable[[], bool]) -> None:
        part = self._room(shard, going)
        try:
            fetch(part)
            self.stamps.keep(path, shard.sha256, part.stat())  # rename keeps size, time and inode
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)

    def _room(self, shard: Shard, going: Callable[[], bool]) -> Path:
        """A partial file of the shard's size, which counts as taken from now on."""
        until, told = time.monotonic() + PATIENCE, False
        gate = self._lock("cache")
        while going():
            gate.take(shared=False, wait=always)
            try:
                if self._evict(shard.bytes):
                    part = self.folder / f"{shard.sha256}.part"
                    with part.open("wb") as file:
                        file.truncate(shard.bytes)
                    return part
            finally:
                gate.release()
            if time.monotonic() > until:
                break
            if not told:
                say.warning("the shard cache %s is full of shards in use; waiting for room", self.folder)
                told = True
            time.sleep(0.1)
        what = f"no room for {shard.file} in {self.folder}: all {self.limit / 1e9:.3f} GB are in use"
        raise TrainerError(what, "raise data.cache_gb or lower data.shuffle_shards", OUTSIDE_FAILED)

    def _evict(self, need: int) -> bool:
        """Removes what was not used for longest until `need` more bytes fit. Whether they do. Under the gate."""
        self._sweep()
        files = [path for path in self.folder.iterdir() if path.suffix in (".bin", ".part")]
        used = sum(path.stat().st_size for path in files)
        for path in sorted((path for path in files if path.suffix == ".bin"), key=self._last_use):
            if used + need <= self.limit:
                break
            lock = self._lock(path.stem)
            if lock.take(shared=False):
                used -= path.stat().st_size
                path.unlink()
                lock.release()
        return used + need <= self.limit

    def _sweep(self) -> None:
        """Removes partial files whose fetcher died. Under the gate."""
        for path in self.folder.glob("*.part"):
            lock = self._lock(path.stem)
            if lock.take(shared=False):
                path.unlink(missing_ok=True)
                lock.release()

    def _last_use(self, path: Path) -> float:
        lock = path.with_suffix(".lock")
        return lock.stat().st_mtime if lock.exists() else 0.0

    def _lock(self, name: str) -> Lock:
        return Lock(self.folder / f"{name}.lock")
