"""Shard files: written as a stream, read by mapping them into memory."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from trainer.data.index import AGAIN, WIDTHS, Shard
from trainer.errors import TrainerError

TOKENS_PER_SHARD = 1 << 26  # 128 MiB as uint16: few files for 50 billion tokens, and quick to fetch again

Values = NDArray[np.unsignedinteger[Any]]


def numpy_dtype(dtype: str) -> np.dtype[np.unsignedinteger[Any]]:
    """Of "uint16" or "uint32", little-endian on every machine."""
    return np.dtype({"uint16": "<u2", "uint32": "<u4"}[dtype])


def shard_name(split: str, number: int) -> str:
    """Of shard `number` of a split, from 0."""
    return f"{split}-{number:05d}.bin"


class ShardWriter:
    """Takes the tokens of one split in order and writes its shards; only whole ones ever have their name.

    Every shard owns `tokens_per_shard` tokens but the last, and ends with the first token of the next (the last shard:
    with the stream's last token, which is only a target; so N tokens make shards that own N - 1). Used as a context;
    call `close()` for the last shard: leaving the context without it drops what is unfinished.

    `done`: whole shards of an earlier, interrupted writer with the same arguments. Then the stream must be given again
    from its token number `writer.received` on.
    """

    def __init__(
        self,
        folder: Path,
        split: str,
        dtype: str,
        tokens_per_shard: int = TOKENS_PER_SHARD,
        done: tuple[Shard, ...] = (),
    ) -> None:
        if dtype not in WIDTHS:
            raise TrainerError(f"shards cannot be {dtype!r}", f"one of {', '.join(WIDTHS)}")
        if tokens_per_shard < 1:
            raise TrainerError("a shard needs at least one token", "give tokens per shard a number above 0")
        self.folder, self.split, self.tokens_per_shard = folder, split, tokens_per_shard
        self.dtype = numpy_dtype(dtype)
        self.shards: list[Shard] = list(done)
        self.received = sum(shard.tokens for shard in done)
        self._file: BinaryIO | None = None
        self._held = 0  # values in the open file
        if done:
            self.received += 1
            self._write(_last_value(folder / done[-1].file, self.dtype))

    def append(self, tokens: NDArray[np.integer[Any]]) -> list[Shard]:
        """Adds tokens (one dimension, any integer dtype); the shards that this made whole.

        Raises TrainerError for a token that the dtype cannot hold and when the disk does not take it.
        """
        if tokens.size == 0:
            return []
        if int(tokens.min()) < 0 or int(tokens.max()) > np.iinfo(self.dtype).max:
            beyond = int(tokens.min()) if int(tokens.min()) < 0 else int(tokens.max())
            raise TrainerError(f"{self.dtype.name} cannot hold the token {beyond}", "prepare with dtype uint32")
        values = np.ascontiguousarray(tokens, dtype=self.dtype)
        before, start = len(self.shards), 0
        try:
            while start < values.size:
                part = values[start : start + self.tokens_per_shard + 1 - self._held]
                self._write(part)
                start += part.size
                if self._held == self.tokens_per_shard + 1:
                    self._finish()
                    self._write(part[-1:])
        except OSError as error:
            raise self._full(error) from None
        self.received += int(values.size)
        return self.shards[before:]

    def close(self) -> tuple[Shard, ...]:
        """Ends the last shard; all shards of the split."""
        try:
            if self._held > 1:
                self._finish()
        except OSError as error:
            raise self._full(error) from None
        self.drop()
        return tuple(self.shards)

    def drop(self) -> None:
        """Forgets the unfinished shard."""
        if self._file is not None:
            self._file.close()
            self._file = None
            self._partial().unlink(missing_ok=True)
        self._held = 0

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.drop()

    def _partial(self) -> Path:
        return self.folder / f".{shard_name(self.split, len(self.shards))}.partial"

    def _write(self, values: Values) -> None:
        if self._file is None:
            self._file = self._partial().open("wb")
            self._hash = hashlib.sha256()
        content = values.view(np.uint8).data
        self._file.write(content)
        self._hash.update(content)
        self._held += int(values.size)

    def _finish(self) -> None:
        assert self._file is not None
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._file = None
        name = shard_name(self.split, len(self.shards))
        self._partial().replace(self.folder / name)
        size = self._held * self.dtype.itemsize
        self.shards.append(Shard(name, self._held - 1, size, self._hash.hexdigest()))
        self._held = 0

    def _full(self, error: OSError) -> TrainerError:
        what = f"cannot write {self._partial()}: {error.strerror}"
        return TrainerError(what, "make room or choose another folder; then go on with the same command", 3)


def open_shard(path: Path, shard: Shard, dtype: str) -> Values:
    """The tokens + 1 values of a shard, mapped, read-only. Raises TrainerError for a missing or truncated file."""
    check_size(path, shard)
    try:
        return np.memmap(path, dtype=numpy_dtype(dtype), mode="r")
    except OSError as error:
        raise TrainerError(f"cannot read {path}: {error.strerror}", "make the shard readable") from None


def check_size(path: Path, shard: Shard) -> os.stat_result:
    """What the file system says of the shard. Raises TrainerError for a missing file or one of another size."""
    try:
        found = path.stat()
    except FileNotFoundError:
        raise size_error(str(path), None, shard) from None
    except OSError as error:
        raise TrainerError(f"cannot read {path}: {error.strerror}", "make the shard readable") from None
    if found.st_size != shard.bytes:
        raise size_error(str(path), found.st_size, shard)
    return found


def size_error(where: str, found: int | None, shard: Shard) -> TrainerError:
    """The error for a shard of another size (bytes) than the index says; None: it is not there."""
    if found is None:
        return TrainerError(f"the shard {where} is missing", f"copy it again, or {AGAIN}")
    how = "truncated" if found < shard.bytes else "too long"
    what = f"the shard {where} is {how}: {found} bytes, {shard.bytes} in the index"
    return TrainerError(what, f"copy it again, or {AGAIN}")


def _last_value(path: Path, dtype: np.dtype[np.unsignedinteger[Any]]) -> Values:
    with path.open("rb") as file:
        file.seek(-dtype.itemsize, os.SEEK_END)
        return np.frombuffer(file.read(), dtype=dtype)
