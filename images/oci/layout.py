"""An OCI image layout folder: the default output of a build, and the store of everything built or read.

opencontainers/image-spec image-layout.md. A layout may be sparse: the layers of a remote base need not be in it.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import IO, Any, Protocol

from images.oci import digest as digests
from images.oci import media
from images.oci.incoming import incoming, room, sweep
from images.oci.manifest import Descriptor, Manifest, canonical
from images.progress import Meter
from profiles.errors import CheckFailed, OutsideFailed, WrongInput

VERSION = {"imageLayoutVersion": "1.0.0"}
REF_NAME = "org.opencontainers.image.ref.name"
# image-spec annotations.md, grammar of ref.name
REF = re.compile(r"[A-Za-z0-9]+(?:(?:[-._:@+]|--)[A-Za-z0-9]+)*(?:/[A-Za-z0-9]+(?:(?:[-._:@+]|--)[A-Za-z0-9]+)*)*")
SMALL = 16 << 20  # bytes; manifests and configs are far below, layers are never read whole
GRACE = 600.0  # seconds a blob without a reference is left alone: a build at work writes blobs before the manifest


class Bytes(Protocol):
    """Bytes in order, until readinto gives 0."""

    def readinto(self, view: memoryview) -> int: ...

    def close(self) -> None: ...


class Streamed(Protocol):
    """A blob that lies elsewhere, such as images.registry.source.RemoteBlob."""

    def open(self, offset: int) -> Bytes: ...


class Layout:
    """Reads and writes one layout folder. Any number of processes may use it at once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.blobs = folder / "blobs" / "sha256"
        self.temporary = folder / "incoming"

    def blob_path(self, digest: str) -> Path:
        """Where the blob is or would be. Raises WrongInput when `digest` is not one."""
        return self.blobs / digests.hex_of(digest)

    def has(self, digest: str, size: int | None = None) -> bool:
        """Whether the blob is there, with the right size when one is given."""
        try:
            found = self.blob_path(digest).stat().st_size
        except FileNotFoundError:
            return False
        return size is None or found == size

    def open(self, digest: str) -> IO[bytes]:
        """The blob for reading. Raises OutsideFailed when it is not there."""
        try:
            return self.blob_path(digest).open("rb")
        except FileNotFoundError:
            raise OutsideFailed(
                f"the layout {self.folder} has no blob {digest}", "build or copy the image again"
            ) from None

    def read_blob(self, digest: str, limit: int = SMALL) -> bytes:
        """A small blob, its digest verified. Raises OutsideFailed (absent, too large) or CheckFailed (damaged)."""
        with self.open(digest) as handle:
            data = handle.read(limit + 1)
        if len(data) > limit:
            raise OutsideFailed(f"blob {digest} is larger than {limit} bytes, too large for a manifest or config")
        if digests.of_bytes(data) != digest:
            raise CheckFailed(f"blob {digest} in {self.folder} is damaged", "delete that file and build again")
        return data

    def put_blob(self, data: bytes) -> str:
        """Stores small content. Returns its digest. Raises OutsideFailed on a full disk."""
        digest = digests.of_bytes(data)
        path = self.blob_path(digest)
        if self.has(digest, len(data)) and path.read_bytes() == data:  # a damaged one is written anew
            os.utime(path)  # young again: gc leaves it alone
            return digest
        self.temporary.mkdir(parents=True, exist_ok=True)
        with room(self.temporary, len(data), "a blob"), incoming(self.temporary) as fresh:
            fresh.file.write(data)
            fresh.place(path)
        return digest

    def adopt(self, path: Path, digest: str) -> Path:
        """Takes a copy of a file that is a blob already, checking its digest on the way. Returns the blob's path.

        Raises CheckFailed when the content has another digest, OutsideFailed on a full disk.
        """
        target = self.blob_path(digest)
        self.temporary.mkdir(parents=True, exist_ok=True)
        needed = path.stat().st_size
        if self.has(digest, needed):
            os.utime(target)
            return target
        with room(self.temporary, needed, str(path)), incoming(self.temporary) as fresh, path.open("rb") as source:
            state = hashlib.sha256()
            while piece := source.read(digests.CHUNK):
                state.update(piece)
                fresh.file.write(piece)
            if state.hexdigest() != digests.hex_of(digest):
                raise CheckFailed(f"{path} is sha256:{state.hexdigest()}, not {digest}", "fetch or build it again")
            fresh.place(target)
        return target

    def put_stream(self, source: Streamed, descriptor: Descriptor, meter: Meter) -> None:
        """Stores a blob that comes from elsewhere, its digest checked on the way.

        Raises CheckFailed when it is another blob, OutsideFailed on a full disk, and what `source` raises.
        """
        self.temporary.mkdir(parents=True, exist_ok=True)
        state, view = hashlib.sha256(), memoryview(bytearray(digests.CHUNK))
        with (
            room(self.temporary, descriptor.size, f"layer {descriptor.digest[:19]}"),
            incoming(self.temporary) as fresh,
        ):
            with closing(source.open(0)) as reader:
                while count := reader.readinto(view):
                    state.update(view[:count])
                    fresh.file.write(view[:count])
                    meter.advance(count)
            if state.hexdigest() != digests.hex_of(descriptor.digest):
                raise CheckFailed(f"what came for {descriptor.digest} is another blob", "run the same command again")
            fresh.place(self.blob_path(descriptor.digest))

    def put_manifest(self, manifest: Manifest, ref: str | None = None) -> Descriptor:
        """Stores a manifest or index and lists it in index.json, under `ref` if given (which then moves to it).

        Raises WrongInput when `ref` is not a legal name.
        """
        if ref is not None and not REF.fullmatch(ref):
            raise WrongInput(f"not a usable reference name: {ref!r}", "use letters, digits and single . _ - : @ + /")
        self.put_blob(manifest.raw)
        plain = manifest.descriptor
        with self.locked():
            rows = self.rows()
            if ref is None:
                if all(row.digest != plain.digest for row in rows):
                    rows.append(plain)
            else:
                rows = [row for row in rows if row.annotations.get(REF_NAME) != ref]
                rows.append(replace(plain, extra={**plain.extra, "annotations": {REF_NAME: ref}}))
            self.write_rows(rows)
        return plain

    def manifest(self, ref: str) -> Manifest:
        """The manifest or index named `ref`, or with that digest. Raises WrongInput when there is none."""
        for row in self.rows():
            if ref in (row.annotations.get(REF_NAME), row.digest):
                return Manifest(self.read_blob(row.digest), row.media_type)
        if digests.DIGEST.fullmatch(ref) and self.has(ref):
            return typed(self.read_blob(ref))
        known = ", ".join(sorted(self.refs())) or "none"
        raise WrongInput(f"no image {ref!r} in {self.folder}", f"images there: {known}")

    def refs(self) -> dict[str, Descriptor]:
        """Every named image."""
        return {row.annotations[REF_NAME]: row for row in self.rows() if REF_NAME in row.annotations}

    def remove(self, ref: str) -> bool:
        """Takes the name away; its blobs go with the next gc. Returns whether it was there."""
        with self.locked():
            rows = self.rows()
            left = [row for row in rows if row.annotations.get(REF_NAME) != ref]
            if len(left) != len(rows):
                self.write_rows(left)
        return len(left) != len(rows)

    def missing(self, manifest: Manifest) -> list[Descriptor]:
        """Blobs the image needs and the folder lacks, such as the layers of a remote base. An index: its children's."""
        needed = manifest.children if manifest.is_index else [manifest.config, *manifest.layers]
        lacking = [one for one in needed if not self.has(one.digest, one.size)]
        for child in manifest.children if manifest.is_index else []:
            if self.has(child.digest, child.size):
                lacking += self.missing(Manifest(self.read_blob(child.digest), child.media_type))
        return list({one.digest: one for one in lacking}.values())

    def gc(self, keep: Iterable[str] = (), grace: float = GRACE) -> int:
        """Deletes blobs that no listed manifest reaches, but for the digests in `keep` and those younger than `grace`
        seconds, and what killed writers left behind. Returns the bytes freed."""
        freed = sweep(self.temporary)
        with self.locked():
            alive = {digests.hex_of(digest) for digest in keep}
            for row in self.rows():
                self.mark(row, alive)
            for path in self.blobs.iterdir() if self.blobs.is_dir() else ():
                state = path.stat()
                if path.name not in alive and time.time() - state.st_mtime >= grace:
                    path.unlink()
                    freed += state.st_size
        return freed

    def mark(self, row: Descriptor, alive: set[str]) -> None:
        """Adds all that `row` reaches to `alive`."""
        name = digests.hex_of(row.digest)
        if name in alive:
            return
        alive.add(name)
        if row.media_type in media.MANIFESTS | media.INDEXES and self.has(row.digest):
            manifest = Manifest(self.read_blob(row.digest), row.media_type)
            for one in manifest.children if manifest.is_index else [manifest.config, *manifest.layers]:
                self.mark(one, alive)

    def rows(self) -> list[Descriptor]:
        """The descriptors of index.json. Raises OutsideFailed when the folder holds something else."""
        try:
            value: Any = json.loads((self.folder / "index.json").read_bytes())
            return [Descriptor.from_json(row) for row in value["manifests"]]
        except FileNotFoundError:
            return []
        except (ValueError, TypeError, KeyError):
            raise OutsideFailed(
                f"{self.folder}/index.json is damaged: it is no OCI index",
                f"rm {self.folder}/index.json; the next build lists its images again",
            ) from None

    def write_rows(self, rows: list[Descriptor]) -> None:
        """Replaces index.json (and makes oci-layout) atomically."""
        index = {"schemaVersion": 2, "mediaType": media.OCI_INDEX, "manifests": [row.to_json() for row in rows]}
        for name, value in (("oci-layout", VERSION), ("index.json", index)):
            data = canonical(value)
            with room(self.temporary, len(data), name), incoming(self.temporary) as fresh:
                fresh.file.write(data)
                fresh.place(self.folder / name)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """The only writer of index.json, among threads and processes."""
        self.temporary.mkdir(parents=True, exist_ok=True)
        with (self.folder / ".lock").open("ab") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield


def typed(raw: bytes) -> Manifest:
    """A manifest whose media type only its own content tells (optional in OCI, then told by its fields)."""
    plain = Manifest(raw, "").json
    return Manifest(raw, plain.get("mediaType") or (media.OCI_INDEX if "manifests" in plain else media.OCI_MANIFEST))
