"""A prepared folder at gs://, s3:// or hf://, read through fsspec and the provider's own client.

The clients take their credentials as always, and the endpoints AWS_ENDPOINT_URL, STORAGE_EMULATOR_HOST, HF_ENDPOINT.
"""

from __future__ import annotations

import hashlib
import os
import threading
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from trainer.data.index import Shard
from trainer.data.optional import need
from trainer.data.patience import Patience, Watch, patiently
from trainer.data.verify import altered
from trainer.errors import OUTSIDE_FAILED, TrainerError

CLIENTS = {"s3": "s3fs", "gs": "gcsfs", "hf": "huggingface_hub"}  # protocol: pip package
CHUNK = 1 << 24  # bytes asked for at once: a slow line must bring one before patience.stall is over


def is_remote(path: str) -> bool:
    """Whether data.path names another machine."""
    return "://" in path


class Remote:
    """The files of one remote folder. Raises TrainerError for an unknown protocol and for a client not installed."""

    def __init__(self, url: str, patience: Patience | None = None) -> None:
        protocol, _, path = url.partition("://")
        if protocol not in CLIENTS:
            known = ", ".join(f"{name}://" for name in CLIENTS)
            raise TrainerError(f"data.path cannot be {protocol}://", f"give it a folder, a file, or one of {known}")
        self.url, self._protocol, self._path = url.rstrip("/"), protocol, path.rstrip("/")
        self.patience = patience or Patience()
        self.closed = threading.Event()
        self._system: Any = None

    def read(self, name: str) -> bytes:
        """A small file, whole."""

        def ask(watch: Watch) -> bytes:
            return bytes(self._files().cat_file(f"{self._path}/{name}"))

        return patiently(f"reading {self.url}/{name}", ask, self.patience, self.closed)

    def sizes(self) -> dict[str, int]:
        """Name and bytes of every file in the folder."""

        def ask(watch: Watch) -> dict[str, int]:
            files = self._files()
            files.invalidate_cache()
            rows = files.ls(self._path, detail=True)
            return {str(row["name"]).rpartition("/")[2]: int(row["size"] or 0) for row in rows}

        return patiently(f"listing {self.url}", ask, self.patience, self.closed)

    def fetch(self, shard: Shard, into: Path) -> None:
        """Downloads a shard into an existing file and checks its hash; goes on where a try broke off.

        Raises TrainerError, exit code 3, when the server keeps failing or the disk is full; 2 when what it has is not
        what the index says, which a second download confirmed.
        """
        for _ in range(2):
            with into.open("r+b") as file:
                download = _Download(shard.bytes, file)
                take = partial(self._take, f"{self._path}/{shard.file}", download)
                patiently(f"fetching {self.url}/{shard.file}", take, self.patience, self.closed)
                file.truncate(download.size)
                file.flush()
                os.fsync(file.fileno())
            if download.hash.hexdigest() == shard.sha256:
                return
        raise altered(f"{self.url}/{shard.file}", shard)

    def close(self) -> None:
        """Breaks off what is being asked."""
        self.closed.set()

    def _take(self, path: str, download: _Download, watch: Watch) -> None:
        while download.size < download.whole:
            start = download.size
            content = self._files().cat_file(path, start=start, end=min(start + CHUNK, download.whole))
            if not content:
                raise EOFError(f"the server's file ends at {start} of {download.whole} bytes")
            if not watch.moved(partial(download.add, content)):
                return

    def _files(self) -> Any:
        if self._system is None:
            self._system = _client(self._protocol)
        return self._system


def _client(protocol: str) -> Any:
    """An fsspec file system of our own: a shared one could hold another's listings."""
    package = CLIENTS[protocol]
    need(package, package, f"{protocol}://")
    if protocol == "gs" and os.environ.get("STORAGE_EMULATOR_HOST"):
        # An emulator has no accounts, and not the gRPC service that gcsfs since 2026 asks for the bucket's layout.
        return need("gcsfs.core", package, "gs://").GCSFileSystem(token="anon", skip_instance_cache=True)
    return need("fsspec", package, f"{protocol}://").filesystem(protocol, skip_instance_cache=True)


class _Download:
    """What came so far of a file of `whole` bytes."""

    def __init__(self, whole: int, file: BinaryIO) -> None:
        self.whole, self.size, self.file, self.hash = whole, 0, file, hashlib.sha256()

    def add(self, content: bytes) -> None:
        try:
            self.file.write(content)
        except OSError as error:
            hint = "make room, lower data.cache_gb, or set data.cache to a folder on a larger disk"
            what = f"cannot write the shard cache {self.file.name}: {error.strerror}"
            raise TrainerError(what, hint, OUTSIDE_FAILED) from None
        self.hash.update(content)
        self.size += len(content)
