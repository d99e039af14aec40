"""System packages as one ordinary layer: installed once by BuildKit on the base, then appended by its digest.

The append builder cannot run anything. So the base gets its packages in an engine, and the layer that this made is
taken out of the engine's archive, compressed as our own layers are, and remembered by base and packages.
"""

from __future__ import annotations

import hashlib
import io
import re
import tarfile
import tempfile
import zlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import IO

from images.builders import buildkit
from images.builders.buildkit import Options
from images.builders.dockerfile import render_foundation
from images.builders.engine import FOUNDATION, Engine, metered
from images.layers import tar
from images.layers.blob import LayerBlob, compress_tar
from images.layers.cache import LayerCache
from images.oci import digest as digests
from images.oci.incoming import room
from images.oci.manifest import canonical
from images.oci.media import Family
from images.plan import Base, Foundation, ImagePlan
from images.progress import Progress, Silent
from profiles.errors import OutsideFailed

BLOB = re.compile(r"blobs/sha256/([0-9a-f]{64})")  # engines from 25.0 save an OCI layout
GZIP_MAGIC = b"\x1f\x8b"
LAYER = re.compile(r"[0-9a-f]{64}/layer\.tar")  # before: one folder per layer, named by an id that says nothing


@dataclass(frozen=True, slots=True)
class Made:
    """Layers to be put right after the base's, rarest change first; reused: nothing had to be built."""

    layers: tuple[LayerBlob, ...]
    reused: bool


def key(base: Base, foundation: Foundation) -> str:
    """What names the outcome in the layer cache, 64 hex digits: the wish, and the text of the step that fulfils it."""
    step = render_foundation(base, foundation, reference_of_base="base")
    return hashlib.sha256(canonical([foundation.key(base), step])).hexdigest()


def recall(plan: ImagePlan, cache: LayerCache, family: Family) -> Made | None:
    """The foundation of an earlier build, if its blob is still there. Asks no engine; None as well without one to
    recall."""
    if plan.foundation is None:
        return Made((), True)
    blob = cache.find(key(plan.base, plan.foundation), plan.compression, family)
    return Made((blob,), True) if blob else None


def make(
    plan: ImagePlan,
    *,
    engine: Engine,
    base_diff_ids: Sequence[str],
    cache: LayerCache,
    family: Family,
    base: str | None = None,
    options: Options | None = None,
    progress: Progress | None = None,
) -> Made:
    """The foundation layers of `plan`, from the cache or built in `engine`.

    base_diff_ids: of the base's own layers; base: the engine's name of a bootstrapped base; options: secrets
    (`apt-auth`) and network of the build. Raises OutsideFailed when there is no way to BuildKit, apt fails, or the
    engine's image does not continue the base.
    """
    if made := recall(plan, cache, family):
        return made
    assert plan.foundation is not None
    report = progress or Silent()
    route = engine.buildkit_route()
    if not route.in_engine:
        raise OutsideFailed(
            f"the foundation has to be built inside the engine, but buildx uses the driver {route.driver}",
            "docker buildx use default",
        )
    tag = f"{FOUNDATION}:{plan.foundation.key(plan.base)[:12]}"
    with tempfile.TemporaryDirectory(prefix="stoker-foundation-") as folder:
        (Path(folder) / "Dockerfile").write_text(
            render_foundation(plan.base, plan.foundation, reference_of_base=base), encoding="utf-8"
        )
        # The epoch is not the commit's: the same packages must stay the same image, whatever the commit.
        buildkit.run(
            Path(folder), plan.platform, tar.MTIME, engine=engine, tags=[tag], options=options, progress=report
        )
    wanted = added(engine.inspect(tag)["RootFS"]["Layers"], base_diff_ids)
    with closing(engine.save(tag)) as archive:
        blob = take(archive, wanted, base_diff_ids, cache, family, plan.compression, report)
    cache.keep(key(plan.base, plan.foundation), plan.compression, blob)
    return Made((blob,), False)


def added(found: Sequence[str], base: Sequence[str]) -> str:
    """The diff_id that the RUN step added. Raises OutsideFailed when the image is not the base and one layer more."""
    if list(found[: len(base)]) != list(base) or len(found) != len(base) + 1:
        raise OutsideFailed(
            "the engine's foundation does not continue the base's layers",
            "remove the engine's copy of the base, try again",
        )
    return found[-1]


def take(
    pieces: Iterable[bytes],
    wanted: str,
    base: Sequence[str],
    cache: LayerCache,
    family: Family,
    compression: str,
    progress: Progress,
) -> LayerBlob:
    """The wanted layer out of an engine's archive, streamed: no more than one layer lies on the disk at a time.

    Old archives do not say which member is which, so each is set down and hashed until the wanted one has come.
    Raises OutsideFailed when it never comes, the archive breaks off or the disk is full.
    """
    skip = {digests.hex_of(diff_id) for diff_id in base}
    cache.layout.mkdir(parents=True, exist_ok=True)
    try:
        with (
            progress.meter("reading the foundation") as meter,
            tarfile.open(fileobj=Reader(metered(pieces, meter)), mode="r|", bufsize=digests.CHUNK) as archive,
        ):
            for size, content in layers_of(archive, skip):
                with room(cache.layout, size, "the foundation"), tempfile.TemporaryFile(dir=cache.layout) as spool:
                    if set_down(content, spool) == wanted:
                        settle(spool)
                        return compress_tar(spool, family, compression, cache.layout)
    except tarfile.TarError as error:
        raise OutsideFailed(f"the engine's archive cannot be read: {error}", "run the same command again") from None
    raise OutsideFailed("the engine's archive lacks the layer with the packages", "run the same command again")


def layers_of(archive: tarfile.TarFile, skip: Collection[str]) -> Iterator[tuple[int, IO[bytes]]]:
    """Size and content of every member that may be a layer of ours."""
    for member in archive:
        blob = BLOB.fullmatch(member.name)
        # In an OCI layout of uncompressed layers the name is the diff_id already: no need to read the base's.
        if member.isreg() and (blob[1] not in skip if blob else LAYER.fullmatch(member.name)):
            content = archive.extractfile(member)
            assert content is not None  # a regular file has content
            yield member.size, content


def set_down(content: IO[bytes], spool: IO[bytes]) -> str:
    """Copies a layer into `spool`, uncompressed and rewound. Returns its diff_id.

    Engines with containerd's image store keep layers compressed (gzip).
    """
    first = content.read(len(GZIP_MAGIC))
    pieces: Iterable[bytes] = chain([first], iter(lambda: content.read(digests.CHUNK), b""))
    state = hashlib.sha256()
    for piece in inflated(pieces) if first == GZIP_MAGIC else pieces:
        state.update(piece)
        spool.write(piece)
    spool.seek(0)
    return "sha256:" + state.hexdigest()


def settle(spool: IO[bytes]) -> None:
    """Makes the same bytes of the same files, in place: what engines write differently, and what came after the step.

    Engines before 25.0 add the kind of file to the mode and look up owners' names on the host: both go. Folders and
    deletion marks (`.wh.NAME`, image-spec layer.md) get the fixed time: engines write the deletion's, and take their
    mount points out of `/etc` when the step is over. All else stays: owners' numbers, capabilities, links.
    """
    with tarfile.open(fileobj=spool, mode="r:") as archive:
        # The header proper stands right before the content, behind any PAX header.
        places = [(member.offset_data - tar.BLOCK, timeless(member)) for member in archive]
    for place, fixed in places:
        spool.seek(place)
        header = bytearray(spool.read(tar.BLOCK))
        header[100:108] = b"%07o\0" % (int(header[100:107], 8) & 0o7777)
        header[265:329] = bytes(64)
        if fixed:
            header[136:148] = b"%011o\0" % tar.MTIME
        header[148:156] = b" " * 8  # the checksum counts itself as spaces
        header[148:156] = b"%06o\0 " % sum(header)
        spool.seek(place)
        spool.write(header)
    spool.seek(0)


def timeless(member: tarfile.TarInfo) -> bool:
    """Whether an entry's time says nothing."""
    mark = member.name.rpartition("/")[2].startswith(".wh.")
    return (member.isdir() or mark) and "mtime" not in member.pax_headers


def inflated(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The content of gzip members that come in pieces."""
    inflate = zlib.decompressobj(wbits=31)
    for piece in pieces:
        rest = piece
        while rest:
            if inflate.eof:
                inflate = zlib.decompressobj(wbits=31)
            yield inflate.decompress(rest)
            rest = inflate.unused_data


class Reader(io.RawIOBase):
    """Pieces of any length as the stream that tarfile reads."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self.pieces, self.rest = iter(pieces), memoryview(b"")

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        found = bytearray()
        while size < 0 or len(found) < size:
            if not self.rest:
                piece = next(self.pieces, None)
                if piece is None:
                    break
                self.rest = memoryview(piece)
            part = self.rest if size < 0 else self.rest[: size - len(found)]
            found += part
            self.rest = self.rest[len(part) :]
        return bytes(found)
