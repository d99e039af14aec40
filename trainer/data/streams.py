"""The two streams of tokens that a preparation writes: train into shards as it goes, val at the end.

The validation stream waits in one plain file: it is small, so that going on after a kill need not make it again.
"""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from trainer.data.documents import SHOWN, Encoded
from trainer.data.index import Shard
from trainer.data.journal import Counts, Entry, Journal, full
from trainer.data.shards import ShardWriter, Values, numpy_dtype, open_shard
from trainer.errors import TrainerError

SPOOL = ".prepare.val"
TRAIN, VAL = 0, 1


class Streams:
    """Goes on after `entries`, the journal's. `position` is where the sources are to be read from.

    val_most: tokens of the validation split, after which documents that would belong to it go to train; 0: no limit.
    """

    def __init__(
        self, folder: Path, dtype: str, shard_tokens: int, journal: Journal, entries: list[Entry], val_most: int = 0
    ) -> None:
        self.folder, self.dtype, self.shard_tokens = folder, dtype, shard_tokens
        self.journal, self.val_most = journal, val_most
        self.entries = list(entries)
        self._stale: set[str] = set()  # files that held what cut_tail moved
        last = entries[-1] if entries else None
        self.position: Any = last.position if last else None
        self.counts = last.counts.copy() if last else Counts()
        self.train = ShardWriter(folder, "train", dtype, shard_tokens, tuple(one.shard for one in entries))
        self._written = self.train.received - self.counts.tokens[TRAIN]  # tokens to come that shards already hold
        self._spool = _open_spool(folder / SPOOL, self.counts.tokens[VAL] * numpy_dtype(dtype).itemsize)

    def add(self, found: Encoded, position: Any, weight: int) -> None:
        """Writes a block's tokens; notes in the journal the shards that this made whole."""
        before, here = self.counts.copy(), self.position
        apart = self._apart(found)
        rows = np.repeat(apart, found.lengths)
        whole = self._append(found.tokens[~rows] if apart.any() else found.tokens)
        self._keep(found.tokens[rows])
        self._count(found, apart, weight)
        if whole:
            self._flush()
        for shard in whole:
            entry = Entry(shard, here, before)
            self.entries.append(entry)
            self.journal.add(entry)
        self.position = position

    def cut_tail(self, tokens: int, eot: int | None, lengths: NDArray[np.uint16]) -> None:
        """Moves the last `tokens` tokens of train to val: for a corpus of so few documents that none went there.

        The journal first forgets the shards that change, so that a kill in here costs only time.
        """
        self.train.close()
        total = self.counts.tokens[TRAIN]
        keep = total - tokens
        stay = max(0, (keep - 1) // self.shard_tokens)
        old = self.train.shards[stay:]
        values = _joined([open_shard(self.folder / shard.file, shard, self.dtype) for shard in old])
        start = stay * self.shard_tokens
        self._stale = {shard.file for shard in old}
        self.entries = self.entries[:stay]
        self.journal.begin(self.entries)
        tail = values[keep - start :]
        self._keep(tail)
        done = tuple(one.shard for one in self.entries)
        self.train = ShardWriter(self.folder, "train", self.dtype, self.shard_tokens, done)
        self.train.append(values[self.train.received - start : keep - start])
        self._recount(tail, eot, lengths)

    def close(self) -> tuple[tuple[Shard, ...], tuple[Shard, ...]]:
        """The shards of train and of val, all whole."""
        train = self.train.close()
        self._flush()
        with ShardWriter(self.folder, "val", self.dtype, self.shard_tokens) as val:
            if self.counts.tokens[VAL]:
                spooled = np.memmap(self.folder / SPOOL, numpy_dtype(self.dtype), "r")
                for at in range(0, spooled.size, 1 << 20):
                    val.append(spooled[at : at + (1 << 20)])
            held_out = val.close()
        for name in self._stale - {shard.file for shard in train}:
            (self.folder / name).unlink(missing_ok=True)
        return train, held_out

    def drop(self) -> None:
        """Leaves what is unfinished to the next attempt."""
        self.train.drop()
        self._spool.close()

    def __enter__(self) -> Streams:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.drop()

    def _apart(self, found: Encoded) -> NDArray[np.bool_]:
        """Which parts go to val. The first document of all never does: train must not be empty."""
        apart = np.zeros(found.lengths.size, dtype=bool)
        if not found.held_out.any() and not self.counts.held_out:
            return apart
        val = self.counts.tokens[VAL]
        first = sum(self.counts.documents) == 0
        inside = self.counts.held_out
        for row in range(apart.size):
            if found.begins[row]:
                full_up = self.val_most and val >= self.val_most
                inside = bool(found.held_out[row]) and not first and not full_up
                first = False
            apart[row] = inside
            val += int(found.lengths[row]) if inside else 0
        return apart

    def _append(self, tokens: Values) -> list[Shard]:
        drop = min(self._written, tokens.size)
        self.counts.tokens[TRAIN] += int(tokens.size)
        self._written -= drop
        return self.train.append(tokens[drop:])

    def _keep(self, tokens: Values) -> None:
        self.counts.tokens[VAL] += int(tokens.size)
        try:
            self._spool.write(np.ascontiguousarray(tokens).view(np.uint8).data)
        except OSError as error:
            raise full(self.folder / SPOOL, error) from None

    def _flush(self) -> None:
        try:
            self._spool.flush()
            os.fsync(self._spool.fileno())
        except OSError as error:
            raise full(self.folder / SPOOL, error) from None

    def _count(self, found: Encoded, apart: NDArray[np.bool_], weight: int) -> None:
        counts = self.counts
        for split, rows in ((TRAIN, ~apart), (VAL, apart)):
            counts.documents[split] += int(found.begins[rows].sum())
            counts.bytes[split] += int(found.sizes[rows].sum())
        if apart.size:
            counts.held_out = bool(apart[-1]) and not bool(found.ends[-1])
        counts.counted += found.counted
        counts.skipped += found.skipped
        counts.said = [*counts.said, *found.said][:SHOWN]
        counts.weight += weight

    def _recount(self, tail: Values, eot: int | None, lengths: NDArray[np.uint16]) -> None:
        """Documents by their ends, bytes by token_bytes."""
        counts = self.counts
        counts.tokens[TRAIN] -= int(tail.size)
        ends = int((tail == eot).sum()) if eot is not None else 0
        moved = min(counts.bytes[TRAIN], int(lengths[tail].sum(dtype=np.int64)))
        counts.bytes = [counts.bytes[TRAIN] - moved, moved]
        counts.documents = [max(1, counts.documents[TRAIN] - ends), max(1, ends)]


def usable(folder: Path, dtype: str, entries: list[Entry]) -> list[Entry]:
    """The entries of a journal up to the first whose files are not as they should be (after a power cut, say)."""
    spooled = (folder / SPOOL).stat().st_size if (folder / SPOOL).is_file() else 0
    for number, entry in enumerate(entries):
        path = folder / entry.shard.file
        whole = path.is_file() and path.stat().st_size == entry.shard.bytes
        if not whole or entry.counts.tokens[VAL] * numpy_dtype(dtype).itemsize > spooled:
            return entries[:number]
    return entries


def _open_spool(path: Path, size: int) -> BinaryIO:
    try:
        path.touch()
        file = path.open("r+b")
        file.truncate(size)
        file.seek(size)
    except OSError as error:
        raise full(path, error) from None
    return file


def _joined(shards: list[Values]) -> Values:
    """The tokens of neighbouring shards: the last value of each but the last is the first of the next."""
    if not shards:
        raise TrainerError("there are no tokens to split", "give more text")
    return np.concatenate([*(one[:-1] for one in shards[:-1]), shards[-1]])
