"""A file as a stream of its content, whether it is compressed or not."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zlib
from pathlib import Path
from types import TracebackType
from typing import Any

from trainer.data.optional import need
from trainer.errors import OUTSIDE_FAILED, TrainerError

CHUNK = 1 << 22  # bytes read at once


class Opened:
    """Content from byte `start` of it on (of the content: a compressed file is read up to there and that dropped)."""

    def __init__(self, path: str, start: int = 0) -> None:
        self.path = path
        try:
            self._raw = open(path, "rb")  # noqa: SIM115, PTH123 (closed by __exit__)
            self._stream = self._unpacked()
            self._told = 0
            if self._stream is self._raw:
                self._raw.seek(start)
                self._told = start
            else:
                self._drop(start)
        except OSError as error:
            raise self._broken(error) from None

    def read(self) -> bytes:
        """The next megabytes; b"" at the end. Raises TrainerError for a damaged or unreadable file."""
        try:
            content: bytes = self._stream.read(CHUNK)
        except Exception as error:  # OSError, EOFError, zlib.error, LZMAError, ZstdError: one for each compression
            raise self._broken(error) from None
        return content

    def weight(self) -> int:
        """Bytes read of the file on disk since the last call."""
        before, self._told = self._told, self._raw.tell()
        return self._told - before

    def __enter__(self) -> Opened:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._raw.close()

    def _unpacked(self) -> Any:
        end = Path(self.path).suffix.lower()
        if end == ".gz":
            return gzip.GzipFile(fileobj=self._raw)
        if end == ".xz":
            return lzma.LZMAFile(self._raw)
        if end == ".bz2":
            return bz2.BZ2File(self._raw)
        if end == ".zst":
            zstandard = need("zstandard", "zstandard", self.path)
            return zstandard.ZstdDecompressor().stream_reader(self._raw, read_across_frames=True)
        return self._raw

    def _drop(self, size: int) -> None:
        while size > 0:
            dropped = len(self._stream.read(min(size, CHUNK)))
            if dropped == 0:
                return
            size -= dropped

    def _broken(self, error: Exception) -> TrainerError:
        if isinstance(error, OSError) and error.strerror:
            return TrainerError(f"cannot read {self.path}: {error.strerror}", "make it readable or leave it out")
        damaged = isinstance(error, (OSError, EOFError, zlib.error, lzma.LZMAError, ValueError))
        kind = "is damaged or cut off" if damaged else f"cannot be unpacked ({type(error).__name__})"
        return TrainerError(f"{self.path} {kind}: {error}", "fetch it again or leave it out", OUTSIDE_FAILED)
