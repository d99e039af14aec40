"""An image of the store as the archive `docker load` reads, streamed: no second copy on disk, flat memory.

Format: moby image/spec/v1.2.md, "Combined Image JSON + Filesystem Changeset Format"; layers may stay compressed.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator, Sequence
from typing import IO

from images.oci.digest import CHUNK, hex_of
from images.oci.layout import Layout
from images.oci.manifest import Manifest, canonical

BLOCK = 512


def archive(manifest: Manifest, layout: Layout, names: Sequence[str]) -> Iterator[bytes]:
    """The archive's bytes. Raises OutsideFailed when the layout lacks a layer."""
    config = layout.read_blob(manifest.config.digest)
    listed = {
        "Config": f"{hex_of(manifest.config.digest)}.json",
        "RepoTags": list(names),
        "Layers": [f"{hex_of(layer.digest)}.tar" for layer in manifest.layers],
    }
    yield from member(listed["Config"], config)  # type: ignore[arg-type]
    seen = set()
    for layer in manifest.layers:
        if layer.digest in seen:
            continue
        seen.add(layer.digest)
        with layout.open(layer.digest) as stream:
            yield header(f"{hex_of(layer.digest)}.tar", layer.size)
            yield from pieces(stream)
        yield bytes(-layer.size % BLOCK)
    yield from member("manifest.json", canonical([listed]))
    yield bytes(2 * BLOCK)


def length(manifest: Manifest) -> int:
    """About how many bytes the archive has, for a meter."""
    return sum(layer.size + BLOCK for layer in manifest.layers) + manifest.config.size


def member(name: str, data: bytes) -> Iterator[bytes]:
    yield header(name, len(data)) + data + bytes(-len(data) % BLOCK)


def header(name: str, size: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size = size
    return info.tobuf(tarfile.GNU_FORMAT)


def pieces(stream: IO[bytes]) -> Iterator[bytes]:
    return iter(lambda: stream.read(CHUNK), b"")


def engine_name(tag: str, registry: str | None) -> str:
    """What an image is called in the engine: as in its registry, or `stoker:<tag>`."""
    return f"{registry or 'stoker'}:{tag}"
