"""Where the shards of a split come from: a local folder, a remote one through the cache, or memory."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.data.cache import Cache, Held
from trainer.data.index import Shard
from trainer.data.remote import Remote
from trainer.data.shards import open_shard
from trainer.data.verify import Stamps, verify

Values = NDArray[np.unsignedinteger[Any]]


class Memory:
    """Shards that are arrays already."""

    def __init__(self, arrays: Sequence[Values]) -> None:
        self.arrays, self.hold = arrays, len(arrays)

    def open(self, number: int) -> Values:
        """The array."""
        return self.arrays[number]

    def release(self, number: int) -> None:
        """It stays."""

    def close(self) -> None:
        """Nothing to end."""


class Local:
    """Shards of a local folder, mapped; each is verified before it is read for the first time."""

    def __init__(self, folder: Path, shards: Sequence[Shard], dtype: str, stamps: Stamps) -> None:
        self.folder, self.shards, self.dtype, self.stamps = folder, shards, dtype, stamps
        self.hold = len(shards)  # a mapped file costs next to nothing

    def open(self, number: int) -> Values:
        """Raises TrainerError for a missing, truncated or altered shard."""
        shard = self.shards[number]
        verify(self.folder / shard.file, shard, self.stamps)
        return np.asarray(open_shard(self.folder / shard.file, shard, self.dtype))  # slices of a memmap are slow

    def release(self, number: int) -> None:
        """The mapping goes with the last array that uses it."""

    def close(self) -> None:
        """Nothing to end."""


class Cached:
    """Shards of a remote folder; what is open is held in the cache. hold: shards open when none were asked for."""

    def __init__(self, remote: Remote, cache: Cache, shards: Sequence[Shard], dtype: str, hold: int) -> None:
        self.remote, self.cache, self.shards, self.dtype, self.hold = remote, cache, shards, dtype, hold
        self._held: dict[int, Held] = {}
        self._lock = threading.Lock()

    def open(self, number: int) -> Values:
        """Waits for the download where it must. Raises TrainerError when that fails for good."""
        shard = self.shards[number]
        held = self.cache.hold(shard, lambda into: self.remote.fetch(shard, into), self._going)
        with self._lock:
            self._held[number] = held
        return np.asarray(open_shard(held.path, shard, self.dtype))

    def release(self, number: int) -> None:
        """The cache may remove it now."""
        with self._lock:
            held = self._held.pop(number, None)
        if held is not None:
            held.release()

    def close(self) -> None:
        """Breaks off downloads."""
        self.remote.close()

    def _going(self) -> bool:
        return not self.remote.closed.is_set()
