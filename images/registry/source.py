"""Where a blob's bytes come from: a file, memory, or another registry."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from images.oci.manifest import Descriptor
from images.registry.download import Download
from images.registry.repository import Repository
from profiles.errors import OutsideFailed


class Reader(Protocol):
    """Bytes in order."""

    def readinto(self, view: memoryview) -> int:
        """Fills `view` as far as it goes; 0 at the end."""

    def close(self) -> None: ...


class BlobSource(Protocol):
    """A blob that can be read again from any offset: what a retry needs."""

    @property
    def descriptor(self) -> Descriptor: ...

    def open(self, offset: int) -> Reader: ...


class FileReader:
    """A file whose errors are told apart from the network's."""

    def __init__(self, path: Path, offset: int) -> None:
        self.path = path
        try:
            self.file = path.open("rb", buffering=0)
            self.file.seek(offset)
        except OSError as error:
            raise self.failed(error) from None

    def readinto(self, view: memoryview) -> int:
        try:
            return self.file.readinto(view) or 0
        except OSError as error:
            raise self.failed(error) from None

    def failed(self, error: OSError) -> OutsideFailed:
        return OutsideFailed(f"cannot read the layer {self.path}: {error.strerror}", "build the image again")

    def close(self) -> None:
        self.file.close()


class FileBlob:
    """A blob in a file."""

    def __init__(self, path: Path, descriptor: Descriptor) -> None:
        self.path, self.descriptor = path, descriptor

    def open(self, offset: int) -> FileReader:
        return FileReader(self.path, offset)


class BytesReader:
    def __init__(self, data: bytes, offset: int) -> None:
        self.data, self.offset = data, offset

    def readinto(self, view: memoryview) -> int:
        piece = self.data[self.offset : self.offset + len(view)]
        view[: len(piece)] = piece
        self.offset += len(piece)
        return len(piece)

    def close(self) -> None: ...


class BytesBlob:
    """A small blob in memory: a config."""

    def __init__(self, data: bytes, descriptor: Descriptor) -> None:
        self.data, self.descriptor = data, descriptor

    def open(self, offset: int) -> BytesReader:
        return BytesReader(self.data, offset)


class RemoteBlob:
    """A blob at another registry, streamed without touching disk; goes on by Range after a cut.

    Whoever reads it checks the digest, as an upload (session.Sum) and the layout (put_stream) do.
    """

    def __init__(self, repository: Repository, descriptor: Descriptor) -> None:
        self.repository, self.descriptor = repository, descriptor

    def open(self, offset: int) -> Download:
        return Download(self.repository, self.descriptor, offset, check=False)


def total(descriptors: Iterable[Descriptor]) -> int:
    """Bytes of the descriptors, each digest once."""
    return sum({d.digest: d.size for d in descriptors}.values())
