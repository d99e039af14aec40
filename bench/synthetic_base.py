"""A base of gigabytes in a local registry, shaped like NVIDIA's: a Debian root that runs, then big layers.

NGC's 26.08 is about 12 GB to pull and 21 GB unpacked (facts collected from its users), so these layers hold random and
repeated bytes in such a mixture that gzip gives the same ratio: an engine that pulls them has as much to unpack.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import random
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from images.bases import debian
from images.layers import compress
from images.oci import media
from images.oci.digest import of_bytes
from images.oci.manifest import Descriptor, Manifest, build
from images.progress import Plain
from images.registry.registries import Registries
from images.registry.repository import Repository
from images.registry.source import BytesBlob, FileBlob
from images.registry.upload import push_blob
from images.store import Store
from tests.sim.ngc import ENTRYPOINT, env, layer

PIECE = 1 << 20
REPEATED = 1 << 12  # bytes; within the 32 kB that deflate looks back
UNPACKED = 21 / 12  # unpacked over compressed, as NGC's 26.08
MONTH = "25.06"
TAG = f"{MONTH}-py3"
NAME = "nvidia/pytorch"


@dataclass(frozen=True)
class Made:
    """A layer as pushed: descriptor and diff_id."""

    descriptor: Descriptor
    diff_id: str


def push_base(registry: str, megabytes: int, layers: int, scratch: Path, bootable: bool) -> int:
    """Put the base at registry/nvidia/pytorch:25.06-py3; its size in bytes.

    bootable: with a bootstrapped Debian at the bottom, so that containers start.
    """
    target = Registries().repository(f"{registry}/{NAME}:{TAG}").for_push(())
    made = [debian_root(target, scratch)] if bootable else []
    for number in range(layers):
        made.append(big_layer(target, number, megabytes * 1_000_000 // layers, scratch))
    own = layer({"opt/nvidia/nvidia_entrypoint.sh": (ENTRYPOINT, 0o755), "etc/pip/constraint.txt": (b"", 0o644)})
    made.append(push_tar(target, own))
    put(target, made)
    return sum(one.descriptor.size for one in made)


def debian_root(target: Repository, scratch: Path) -> Made:
    """The `cpu` profile's own base, as a layer of this one."""
    store = Store(scratch / "store")
    done = debian.bootstrap("bookworm", ("ca-certificates", "python3"), store, Plain())
    found = store.layout.manifest(done.digest).layers[0]
    descriptor = Descriptor(media.DOCKER.gzip_layer, found.digest, found.size)
    push_blob(target, FileBlob(store.layout.blob_path(found.digest), descriptor))
    return Made(descriptor, done.diff_id)


def big_layer(target: Repository, number: int, size: int, scratch: Path) -> Made:
    """One file that weighs `size` bytes compressed, the same in every run."""
    path = scratch / "layer"
    plain, packed, length = hashlib.sha256(), hashlib.sha256(), 0
    with path.open("wb") as out:
        by = compress.compressor("gzip")
        for piece in compress.compressed(seen(compress.gathered(tar_of(number, size), by.piece), plain), by):
            packed.update(piece)
            length += len(piece)
            out.write(piece)
    descriptor = Descriptor(media.DOCKER.gzip_layer, f"sha256:{packed.hexdigest()}", length)
    push_blob(target, FileBlob(path, descriptor))
    path.unlink()
    return Made(descriptor, f"sha256:{plain.hexdigest()}")


def tar_of(number: int, size: int) -> Iterator[bytes]:
    """Pieces of random bytes, each followed by its beginning again, so often that UNPACKED is the ratio."""
    info = tarfile.TarInfo(f"opt/stack/part-{number}.bin")
    again = int(PIECE * (UNPACKED - 1))
    pieces = -(-size // PIECE)
    info.size = pieces * (PIECE + again)
    yield info.tobuf(tarfile.USTAR_FORMAT)
    source = random.Random(number)
    for _ in range(pieces):
        piece = source.randbytes(PIECE)
        yield piece
        yield (piece[:REPEATED] * (again // REPEATED + 1))[:again]
    yield bytes(-info.size % tarfile.BLOCKSIZE + 2 * tarfile.BLOCKSIZE)


def seen(pieces: Iterator[bytes], plain: hashlib._Hash) -> Iterator[bytes]:
    """The pieces; `plain` sees them."""
    for piece in pieces:
        plain.update(piece)
        yield piece


def push_tar(target: Repository, tar: bytes) -> Made:
    blob = gzip.compress(tar, 1, mtime=0)
    descriptor = Descriptor(media.DOCKER.gzip_layer, of_bytes(blob), len(blob))
    push_blob(target, BytesBlob(blob, descriptor))
    return Made(descriptor, of_bytes(tar))


def put(target: Repository, made: Sequence[Made]) -> None:
    """Config, manifest and, as NVIDIA does, an index above them, all in Docker's media types."""
    value = {
        "architecture": "amd64",
        "os": "linux",
        "created": "2025-06-20T00:00:00Z",
        "config": {
            "Env": env(MONTH),
            "Entrypoint": ["/opt/nvidia/nvidia_entrypoint.sh"],
            "WorkingDir": "/workspace",
            "ExposedPorts": {"8888/tcp": {}, "6006/tcp": {}},
        },
        "rootfs": {"type": "layers", "diff_ids": [one.diff_id for one in made]},
        "history": [{"created": "2025-06-20T00:00:00Z", "created_by": f"layer {n}"} for n in range(len(made))],
    }
    config = json.dumps(value).encode()
    described = Descriptor(media.DOCKER_CONFIG, of_bytes(config), len(config))
    push_blob(target, BytesBlob(config, described))
    manifest = build(
        {
            "schemaVersion": 2,
            "mediaType": media.DOCKER_MANIFEST,
            "config": described.to_json(),
            "layers": [one.descriptor.to_json() for one in made],
        }
    )
    target.put_manifest(manifest.digest, manifest)
    row = {**manifest.descriptor.to_json(), "platform": {"os": "linux", "architecture": "amd64"}}
    target.put_manifest(TAG, index_of(row))


def index_of(row: dict[str, object]) -> Manifest:
    return build({"schemaVersion": 2, "mediaType": media.DOCKER_INDEX, "manifests": [row]})


def settle() -> None:
    """Everything on disk: the next measurement must not pay for writing this one's pages."""
    os.sync()
