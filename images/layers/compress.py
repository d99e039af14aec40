"""Compressors whose output is the same on every machine, with flat memory and on several cores.

The host's zlib must not decide the blob's digest: zlib, zlib-ng and isal give different bytes for one input. So gzip
comes from the libdeflate inside the pinned `deflate` wheel, zstd from the libzstd inside the pinned `zstandard` wheel.

Input is cut into pieces of a fixed size; each becomes a gzip member (RFC 1952, section 2.2) or a zstd frame
(RFC 8878, section 3) of its own, and the members are concatenated, as eStargz and zstd:chunked do too. The bytes then
depend neither on how the input arrived nor on the number of threads, and a piece is all that is held in memory.
"""

from __future__ import annotations

import struct
import threading
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from images.oci.media import Family
from profiles.errors import WrongInput

if TYPE_CHECKING:
    import zstandard

GZIP_LEVEL = 6  # libdeflate: 100 MB/s per core, 5 % smaller than level 1; a code layer takes a few milliseconds
GZIP_PIECE = 1 << 20  # 32 times deflate's window: what is lost at the seams is under 1 %
ZSTD_LEVEL = 6
ZSTD_PIECE = 4 << 20  # twice the window of level 6
# Magic, deflate, no flags (so no name), mtime 0, XFL 0, OS 255 (unknown): RFC 1952, section 2.3.
GZIP_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
THREADS = 2  # both libraries let go of the interpreter while they work


@dataclass(frozen=True, slots=True)
class Compressor:
    """name: as in the plan; id: library, version and settings, all that decides the bytes; piece: bytes of input per
    member; pack: turns one piece into one self-contained member."""

    name: str
    id: str
    piece: int
    pack: Callable[[bytes], bytes]


def compressor(name: str) -> Compressor:
    """The compressor 'gzip' or 'zstd'. Raises WrongInput for another name."""
    if name == "gzip":
        return gzip()
    if name == "zstd":
        return zstd()
    raise WrongInput(f"unknown compression {name!r}", "choose gzip or zstd")


def media_type(name: str, family: Family) -> str:
    """The layer media type of compression `name`. Raises WrongInput: Docker's own family knows no zstd."""
    if name == "gzip":
        return family.gzip_layer
    if name == "zstd" and family.zstd_layer:
        return family.zstd_layer
    raise WrongInput(f"{name} layers do not exist in {family.name} manifests", "use gzip, or an OCI manifest")


def gzip() -> Compressor:
    import deflate

    def pack(piece: bytes) -> bytes:
        trailer = struct.pack("<II", zlib.crc32(piece), len(piece))
        return b"".join((GZIP_HEADER, deflate.deflate_compress(piece, GZIP_LEVEL), trailer))

    return Compressor("gzip", f"gzip:deflate-{deflate.__version__}:level{GZIP_LEVEL}:member1MiB", GZIP_PIECE, pack)


def zstd() -> Compressor:
    import zstandard

    local = threading.local()  # a context may be used by one thread at a time

    def pack(piece: bytes) -> bytes:
        context: zstandard.ZstdCompressor | None = getattr(local, "context", None)
        if context is None:
            # No checksum: the blob's sha256 covers it. The content size lets readers allocate once.
            context = zstandard.ZstdCompressor(level=ZSTD_LEVEL, write_checksum=False, write_content_size=True)
            local.context = context
        return context.compress(piece)

    version = ".".join(str(part) for part in zstandard.ZSTD_VERSION)
    return Compressor("zstd", f"zstd:libzstd-{version}:level{ZSTD_LEVEL}:frame4MiB", ZSTD_PIECE, pack)


def gathered(chunks: Iterable[bytes], size: int) -> Iterator[bytes]:
    """The same bytes in pieces of exactly `size`, but for the last one."""
    waiting = bytearray()
    for chunk in chunks:
        waiting += chunk
        while len(waiting) >= size:
            yield bytes(memoryview(waiting)[:size])
            del waiting[:size]
    if waiting:
        yield bytes(waiting)


def compressed(pieces: Iterable[bytes], by: Compressor, threads: int = THREADS) -> Iterator[bytes]:
    """The members for pieces of `by.piece` bytes, in order. No input at all gives one empty member.

    At most two pieces per thread wait at a time. Input of a single piece never starts a thread.
    """
    source = iter(pieces)
    first = next(source, b"")
    second = next(source, None)
    if second is None:
        yield by.pack(first)
        return
    with ThreadPoolExecutor(threads, thread_name_prefix="compress") as pool:
        waiting: deque[Future[bytes]] = deque(pool.submit(by.pack, piece) for piece in (first, second))
        for piece in source:
            waiting.append(pool.submit(by.pack, piece))
            if len(waiting) >= 2 * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
