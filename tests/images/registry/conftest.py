"""Debian's docker-registry, started on a free port; images to push; a way to read what a proxy saw."""

from __future__ import annotations

import os
import random
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from images.oci import digest as digests
from images.oci import media
from images.oci.manifest import Descriptor, Manifest, build, canonical
from images.registry.address import Settings
from images.registry.credentials import Credentials
from images.registry.pace import RetryPolicy
from images.registry.registries import Registries
from images.registry.repository import Repository
from images.registry.source import BlobSource, BytesBlob
from tests.conftest import program
from tests.sim.fault_proxy import FaultProxy

QUICK = RetryPolicy(tries=4, base_seconds=0.01, ceiling_seconds=0.05, idle_seconds=5)
CONFIG = """version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: {root}}}, delete: {{enabled: true}}}}
http: {{addr: "127.0.0.1:{port}", secret: only-for-tests{tls}}}
{more}
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running_registry(folder: Path, more: str = "", tls: str = "") -> Iterator[str]:
    """`host:port` of a real registry that keeps its data in `folder`."""
    server = program("docker-registry")
    port = free_port()
    config = folder / "registry.yml"
    config.write_text(CONFIG.format(root=folder / "data", port=port, more=more, tls=tls))
    with (folder / "registry.log").open("wb") as log:
        process = subprocess.Popen([server, "serve", str(config)], stdout=log, stderr=log)
    try:
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert process.poll() is None, (folder / "registry.log").read_text()
            time.sleep(0.02)
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_registry(tmp_path_factory.mktemp("registry")) as host:
        yield host


@pytest.fixture(scope="session")
def other_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_registry(tmp_path_factory.mktemp("other")) as host:
        yield host


@pytest.fixture
def proxy(registry: str) -> Iterator[FaultProxy]:
    with FaultProxy(registry) as running:
        yield running


@pytest.fixture
def no_login(tmp_path: Path) -> Credentials:
    return Credentials({"HOME": str(tmp_path), "PATH": os.environ["PATH"]})


@pytest.fixture
def registries(no_login: Credentials) -> Iterator[Registries]:
    with Registries(Settings(), credentials=no_login, policy=QUICK) as opened:
        yield opened


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A repository of the test's own: the registry is shared."""
    return f"t{digests.of_bytes(request.node.nodeid.encode())[7:19]}"


@pytest.fixture
def repository(registries: Registries, registry: str, name: str) -> Repository:
    return registries.repository(f"{registry}/{name}").for_push()


@pytest.fixture
def behind(registries: Registries, proxy: FaultProxy, name: str) -> Repository:
    """The same repository as `repository`, seen through the fault proxy."""
    return registries.repository(f"{proxy.host}/{name}").for_push()


def noise(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


def bytes_blob(data: bytes, kind: str = media.OCI_LAYER + "+gzip") -> BytesBlob:
    return BytesBlob(data, Descriptor(kind, digests.of_bytes(data), len(data)))


@dataclass
class SmallImage:
    """An image of layers that are local, unless `remote` takes their place."""

    layers: list[bytes]
    family: media.Family = media.OCI
    base: Repository | None = None
    remote: frozenset[str] = frozenset()
    architecture: str = "amd64"
    blobs: dict[str, BytesBlob] = field(init=False)

    def __post_init__(self) -> None:
        self.blobs = {blob.descriptor.digest: blob for blob in map(self.layer, self.layers)}

    def layer(self, data: bytes) -> BytesBlob:
        return bytes_blob(data, self.family.gzip_layer)

    @property
    def config(self) -> bytes:
        return canonical(
            {
                "architecture": self.architecture,
                "os": "linux",
                "config": {},
                "rootfs": {"type": "layers", "diff_ids": list(self.blobs)},
            }
        )

    @property
    def manifest(self) -> Manifest:
        config = Descriptor(self.family.config, digests.of_bytes(self.config), len(self.config))
        return build(
            {
                "schemaVersion": 2,
                "mediaType": self.family.manifest,
                "config": config.to_json(),
                "layers": [blob.descriptor.to_json() for blob in self.blobs.values()],
            }
        )

    def blob(self, digest: str) -> BlobSource | None:
        return None if digest in self.remote else self.blobs.get(digest)


@pytest.fixture
def image() -> Callable[..., SmallImage]:
    return SmallImage


def index_of(*images: SmallImage) -> Manifest:
    children = [
        {**i.manifest.descriptor.to_json(), "platform": {"os": "linux", "architecture": i.architecture}} for i in images
    ]
    return build({"schemaVersion": 2, "mediaType": media.OCI_INDEX, "manifests": children})
