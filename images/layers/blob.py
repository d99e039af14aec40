"""From entries to a finished layer blob, in one pass: tar, diff_id, compression, digest, file."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from images.layers import compress, tar
from images.oci import digest as digests
from images.oci.incoming import Incoming, incoming, room, sweep
from images.oci.manifest import Descriptor
from images.oci.media import Family
from images.progress import Meter, Progress, Silent


@dataclass(frozen=True, slots=True)
class LayerBlob:
    """A layer as a file: descriptor of the compressed blob, diff_id (digest of the tar), number of entries that are
    files or links, compressor id."""

    descriptor: Descriptor
    diff_id: str
    path: Path
    files: int
    compressor: str


def blob_path(folder: Path, digest: str) -> Path:
    """Where an OCI layout folder keeps a blob. Raises WrongInput when `digest` is not one."""
    return folder / "blobs" / "sha256" / digests.hex_of(digest)


def write_layer(
    entries: Iterable[tar.Entry],
    family: Family,
    compression: str,
    folder: Path,
    *,
    name: str = "layer",
    progress: Progress | None = None,
) -> LayerBlob:
    """Writes the layer into the OCI layout `folder` as `blobs/sha256/<hex>` and says what it is.

    Memory stays flat whatever the sizes; two processes may write the same layer at once. Raises WrongInput for paths
    or a compression that cannot be, CheckFailed when a file changes while it is read, OutsideFailed on a full disk.
    """
    ordered = tar.arranged(entries)
    total = tar.length(ordered)
    with (progress or Silent()).meter(f"layer {name}", total) as meter:
        blob = packed(tar.stream(ordered), total, family, compression, folder, f"layer {name}", meter)
    return replace(blob, files=sum(entry.kind != "dir" for entry in ordered))


def compress_tar(
    stream: IO[bytes], family: Family, compression: str, folder: Path, meter: Meter | None = None
) -> LayerBlob:
    """The same for a tar that something else made (a bootstrapped base): its bytes stay as they are.

    stream must be a file on disk. Raises as write_layer; `files` is 0, because nobody counted.
    """
    total = os.fstat(stream.fileno()).st_size
    chunks = iter(lambda: stream.read(digests.CHUNK), b"")
    return packed(chunks, total, family, compression, folder, "the layer", meter or Silent())


def packed(
    chunks: Iterable[bytes], total: int, family: Family, compression: str, folder: Path, what: str, meter: Meter
) -> LayerBlob:
    """Compresses a tar of `total` bytes into the layout `folder`, hashing it before and after."""
    media_type = compress.media_type(compression, family)
    by = compress.compressor(compression)
    temporary = folder / "incoming"
    temporary.mkdir(parents=True, exist_ok=True)
    sweep(temporary)
    with room(temporary, total, what), incoming(temporary) as fresh:
        before = Hashed(compress.gathered(chunks, by.piece), meter)
        after = Hashed(compress.compressed(before, by))
        for member in after:
            fresh.file.write(member)
        path = blob_path(folder, after.digest)
        settle(fresh, path, after.size)
    return LayerBlob(Descriptor(media_type, after.digest, after.size), before.digest, path, 0, by.id)


def settle(fresh: Incoming, path: Path, size: int) -> None:
    """Names the blob, or keeps the equal one that is there, made young again so that gc leaves it alone."""
    if path.is_file() and path.stat().st_size == size:
        os.utime(path)
    else:
        fresh.place(path)


class Hashed:
    """Pieces that pass through, with their digest and length when they are through."""

    def __init__(self, pieces: Iterable[bytes], meter: Meter | None = None) -> None:
        self.pieces, self.meter = pieces, meter or Silent()
        self.state, self.size = hashlib.sha256(), 0

    def __iter__(self) -> Iterator[bytes]:
        for piece in self.pieces:
            self.state.update(piece)
            self.size += len(piece)
            self.meter.advance(len(piece))
            yield piece

    @property
    def digest(self) -> str:
        return "sha256:" + self.state.hexdigest()
