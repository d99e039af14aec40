"""A layer read once from front to end: its files, and what it came to uncompressed. Memory stays flat."""

from __future__ import annotations

import hashlib
import io
import tarfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import IO, TYPE_CHECKING

from images.oci import digest as digests
from profiles.errors import CheckFailed

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

    from images.store import Store

GZIP, ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
PIECE = 1 << 20


class Pieces(io.RawIOBase):
    """Pieces of any length as the stream that readers want."""

    def __init__(self, pieces: Iterable[bytes | memoryview]) -> None:
        self.pieces, self.rest = iter(pieces), memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer).cast("B")
        while not self.rest:
            piece = next(self.pieces, None)
            if piece is None:
                return 0
            self.rest = memoryview(piece)
        count = min(len(view), len(self.rest))
        view[:count] = self.rest[:count]
        self.rest = self.rest[count:]
        return count


class Unpacked:
    """The tar inside a layer blob. Which compression it has, its first bytes tell, not its media type.

    `finish` reads what is left and returns the diff_id; size: bytes uncompressed, true after it.
    """

    def __init__(self, pieces: Iterable[bytes | memoryview]) -> None:
        self.state, self.size = hashlib.sha256(), 0
        self.raw = Pieces(self.counted(pieces))

    def counted(self, pieces: Iterable[bytes | memoryview]) -> Iterator[bytes]:
        for piece in plain(pieces):
            self.state.update(piece)
            self.size += len(piece)
            yield piece

    def finish(self) -> str:
        """Reads to the end. Returns the diff_id. Raises CheckFailed when the blob cannot be decompressed."""
        buffer = bytearray(PIECE)
        while self.raw.readinto(buffer):
            pass
        return "sha256:" + self.state.hexdigest()

    def visit(self, look: Callable[[tarfile.TarInfo, IO[bytes] | None], None]) -> str:
        """Shows every entry, with the content of a regular file. Returns the diff_id, as `finish`.

        Raises CheckFailed for a tar that is none or ends early, even when that is seen inside `look`.
        """
        try:
            with tarfile.open(fileobj=io.BufferedReader(self.raw, PIECE), mode="r|", errorlevel=2) as archive:
                for member in archive:
                    look(member, archive.extractfile(member) if member.isreg() else None)
        except tarfile.TarError as broken:
            raise CheckFailed(f"not a readable tar: {broken}", "build and push the image again") from None
        return self.finish()


def plain(pieces: Iterable[bytes | memoryview]) -> Iterator[bytes]:
    """The uncompressed bytes of a blob, at most about a megabyte at a time. Raises CheckFailed."""
    source = iter(pieces)
    first = bytes(next(source, b""))
    while 0 < len(first) < len(ZSTD):
        more = bytes(next(source, b""))
        if not more:
            break
        first += more
    try:
        if first.startswith(GZIP):
            yield from gunzipped(first, source)
        elif first.startswith(ZSTD):
            yield from unzstd(first, source)
        else:
            yield first
            yield from (bytes(piece) for piece in source)
    except zlib.error as broken:
        raise CheckFailed(f"the layer cannot be decompressed: {broken}", "build and push the image again") from None


def gunzipped(first: bytes, source: Iterator[bytes | memoryview]) -> Iterator[bytes]:
    """The content of concatenated gzip members (RFC 1952, section 2.2), never more than PIECE at once."""
    inflate = zlib.decompressobj(wbits=31)
    rest = first
    while True:
        while rest:
            if inflate.eof:
                inflate = zlib.decompressobj(wbits=31)
            yield inflate.decompress(rest, PIECE)
            rest = inflate.unused_data if inflate.eof else inflate.unconsumed_tail
        piece = next(source, None)
        if piece is None:
            break
        rest = bytes(piece)
    if not inflate.eof:
        raise zlib.error("it ends in the middle")


def unzstd(first: bytes, source: Iterator[bytes | memoryview]) -> Iterator[bytes]:
    """The content of concatenated zstd frames (RFC 8878, section 3)."""
    import zstandard

    stream = io.BufferedReader(Pieces(chain([first], source)), PIECE)
    reader = zstandard.ZstdDecompressor().stream_reader(stream, read_across_frames=True)
    try:
        while piece := reader.read(PIECE):
            yield piece
    except zstandard.ZstdError as broken:
        raise zlib.error(str(broken)) from None


def from_store(store: Store, digest: str) -> Iterator[bytes]:
    """The pieces of a local blob, its digest checked at the end. Raises OutsideFailed, CheckFailed."""
    state = hashlib.sha256()
    with store.layout.open(digest) as handle:
        while piece := handle.read(PIECE):
            state.update(piece)
            yield piece
    if state.hexdigest() != digests.hex_of(digest):
        raise CheckFailed(f"blob {digest} in {store.layout.folder} is damaged", "delete that file and build again")
