from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from images.oci import media
from images.registry.errors import DigestMismatch, Missing, RegistryError
from images.registry.push import push_image, push_index
from images.registry.record import Record
from images.registry.registries import Registries
from images.registry.repository import Repository
from profiles.errors import Refused, WrongInput
from tests.images.registry.conftest import SmallImage, index_of, noise
from tests.sim.fake_registry import FakeRegistry
from tests.sim.fault_proxy import FaultProxy, Rule

MB = 1 << 20


@pytest.mark.parametrize("family", [media.OCI, media.DOCKER])
def test_an_image_is_there_under_all_its_tags(repository: Repository, family: media.Family) -> None:
    image = SmallImage([noise(3000, 51), noise(10, 52)], family)
    result = push_image(image, repository, ["v1", "v1.0"], force=True)
    assert result.digest == image.manifest.digest
    assert result.bytes_sent == 3010 + len(image.config)
    for tag in ("v1", "v1.0"):
        assert repository.manifest(tag).raw == image.manifest.raw


def test_nothing_changed_sends_nothing(behind: Repository, proxy: FaultProxy) -> None:
    image = SmallImage([noise(3000, 53)])
    push_image(image, behind, ["v1"])
    before = len(proxy.seen)
    assert push_image(image, behind, ["v1"]).bytes_sent == 0
    assert [seen.method for seen in proxy.seen[before:]] == ["HEAD"]


def test_a_changed_layer_sends_only_itself(behind: Repository, proxy: FaultProxy, tmp_path: Path) -> None:
    record = Record(tmp_path / "record")
    push_image(SmallImage([noise(300_000, 54), b"one"]), behind, ["v1"], record=record)
    before = proxy.body_bytes()
    changed = SmallImage([noise(300_000, 54), b"two"])
    result = push_image(changed, behind, ["v2"], record=record)
    assert result.bytes_sent == proxy.body_bytes() - before == 3 + len(changed.config)
    assert [blob.how for blob in result.blobs].count("known") == 1
    base_layer = changed.manifest.layers[0].digest
    assert proxy.count("HEAD", base_layer) == 1, "the record saves the question"


def test_a_record_that_is_wrong_costs_one_more_round(behind: Repository, tmp_path: Path) -> None:
    image, record = SmallImage([noise(1000, 55)]), Record(tmp_path)
    digests = [layer.digest for layer in image.manifest.layers]
    record.add(behind.transport.host, behind.name, digests)
    result = push_image(image, behind, ["v1"], record=record)
    assert {blob.how for blob in result.blobs} == {"uploaded"}
    assert behind.manifest("v1").digest == image.manifest.digest
    assert record.known(behind.transport.host, behind.name) == {*digests, image.manifest.config.digest}


def test_a_tag_with_another_digest_is_not_moved_unless_forced(repository: Repository) -> None:
    first, second = SmallImage([b"first"]), SmallImage([b"second"])
    push_image(first, repository, ["v1"])
    with pytest.raises(Refused, match="exists with another digest") as caught:
        push_image(second, repository, ["v1"])
    assert caught.value.exit_code == 4
    assert repository.manifest("v1").digest == first.manifest.digest
    push_image(second, repository, ["v1"], force=True)
    assert repository.manifest("v1").digest == second.manifest.digest


def test_base_layers_at_the_same_registry_are_mounted(
    registries: Registries, registry: str, behind: Repository, proxy: FaultProxy, name: str
) -> None:
    base = registries.repository(f"{proxy.host}/{name}-base")
    below = SmallImage([noise(50_000, 56)])
    push_image(below, base, ["v1"])
    before = proxy.body_bytes()
    image = SmallImage([*below.layers, b"own"], base=base, remote=frozenset(below.blobs))
    result = push_image(image, behind, ["v1"])
    assert sorted(blob.how for blob in result.blobs) == ["mounted", "uploaded", "uploaded"]
    assert proxy.body_bytes() - before == 3 + len(image.config)


def test_base_layers_elsewhere_are_streamed(registries: Registries, other_registry: str, behind: Repository) -> None:
    base = registries.repository(f"{other_registry}/base")
    below = SmallImage([noise(50_000, 57)])
    push_image(below, base, ["v1"], force=True)
    image = SmallImage([*below.layers, b"own"], base=base, remote=frozenset(below.blobs))
    push_image(image, behind, ["v1"])
    assert behind.blob(image.manifest.layers[0]) == below.layers[0]


def test_a_layer_that_is_nowhere_is_named(repository: Repository) -> None:
    image = SmallImage([b"lost"])
    image.remote = frozenset(image.blobs)
    with pytest.raises(Missing, match="neither on this machine nor in"):
        push_image(image, repository, ["v1"])
    assert repository.head("v1") is None


def test_a_registry_that_lies_about_a_digest_gets_no_tag(registries: Registries) -> None:
    with FakeRegistry(lie_stored="sha256:" + "0" * 64) as fake:
        repository = registries.repository(f"{fake.host}/a")
        with pytest.raises(DigestMismatch):
            push_image(SmallImage([b"x"]), repository, ["v1"])
        assert repository.head("v1") is None


def test_a_tag_that_reads_back_otherwise_is_an_error(behind: Repository, proxy: FaultProxy) -> None:
    proxy.add(Rule("HEAD", "/manifests/v1", after=1, headers={"Docker-Content-Digest": "sha256:" + "2" * 64}))
    with pytest.raises(DigestMismatch, match="reads back as sha256:222"):
        push_image(SmallImage([b"x"]), behind, ["v1"])


def test_a_manifest_too_large_for_the_server(behind: Repository, proxy: FaultProxy) -> None:
    proxy.add(Rule("PUT", "/manifests/", times=9, status=413))
    with pytest.raises(RegistryError, match="takes no body of this size"):
        push_image(SmallImage([b"x"]), behind, ["v1"])


def test_one_failed_layer_ends_the_push_without_a_tag(behind: Repository, proxy: FaultProxy) -> None:
    proxy.add(Rule("POST", "/blobs/uploads/", times=99, after=1, status=403))
    with pytest.raises(RegistryError):
        push_image(SmallImage([noise(100, n) for n in range(6)]), behind, ["v1"])
    assert behind.head("v1") is None


@pytest.mark.parametrize("header", ["0.3", "date"])
def test_retry_after_holds_back_all_workers(behind: Repository, proxy: FaultProxy, header: str) -> None:
    from email.utils import formatdate

    seconds = 0.3 if header != "date" else 2.0
    value = header if header != "date" else formatdate(time.time() + seconds, usegmt=True)
    proxy.add(Rule("POST", "/blobs/uploads/", status=429, headers={"Retry-After": value}))
    started = time.monotonic()
    push_image(SmallImage([noise(100, n + 60) for n in range(3)]), behind, ["v1"])
    assert 0.3 <= time.monotonic() - started < 60


def test_an_index_comes_after_its_children(behind: Repository, proxy: FaultProxy) -> None:
    amd, arm = SmallImage([b"amd"]), SmallImage([b"arm"], architecture="arm64")
    index = index_of(amd, arm)
    result = push_index([amd, arm], index, behind, ["v1"])
    assert result.digest == index.digest
    puts = [seen.path.rpartition("/")[2] for seen in proxy.requests("PUT", "/manifests/")]
    assert puts == [amd.manifest.digest, arm.manifest.digest, "v1"]
    with pytest.raises(WrongInput, match="which is not being pushed"):
        push_index([amd], index, behind, ["v2"])


def test_a_foreign_layer_stays_where_its_urls_say(registries: Registries) -> None:
    from images.oci.manifest import Manifest, build

    image = SmallImage([b"x"])
    foreign = {"mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", "urls": ["https://x/y"]}
    value = dict(image.manifest.json)
    value["layers"] = [{**foreign, "digest": "sha256:" + "7" * 64, "size": 9}, *value["layers"]]

    class Windows(SmallImage):
        @property
        def manifest(self) -> Manifest:
            return build(value)

    with FakeRegistry() as fake:
        result = push_image(Windows([b"x"]), registries.repository(f"{fake.host}/a"), ["v1"])
        assert len(result.blobs) == 2


PUSH = """
import sys
from pathlib import Path
from images.registry.registries import Registries
from images.registry.push import push_image
from images.registry.upload import Chunking
from tests.images.registry.conftest import SmallImage, noise
host, journal, size = sys.argv[1:]
with Registries() as registries:
    image = SmallImage([noise(int(size), 71)])
    print(push_image(image, registries.repository(host + '/a'), ['v1'], journal_dir=Path(journal),
                     chunking=Chunking(1 << 20, 1 << 20)).bytes_sent)
"""


def test_a_killed_push_goes_on_at_the_byte_it_reached(tmp_path: Path) -> None:
    """SIGKILL in the middle of a chunk, at a registry that keeps to the specification; then the same command."""
    size = 9 * MB + 17
    with FakeRegistry() as fake:
        command = [sys.executable, "-c", PUSH, fake.host, str(tmp_path), str(size)]
        environ = {**os.environ, "PYTHONPATH": "."}
        fake.pace = 0.002
        first = subprocess.Popen(command, env=environ)
        while fake.body_bytes() < size // 2:
            assert first.poll() is None
            time.sleep(0.002)
        first.kill()
        assert first.wait() == -signal.SIGKILL
        fake.pace = 0.0
        time.sleep(0.05)
        done = subprocess.run(command, env=environ, capture_output=True, text=True, check=True)
        assert int(done.stdout) < size // 2 + MB, "\n".join(
            f"{c.method} {c.path[:60]} {c.body} {c.status}" for c in fake.calls
        )
        image = SmallImage([noise(size, 71)])
        assert 0 <= fake.body_bytes() - size - len(image.config) <= MB, "each byte once, give or take one chunk"
        assert list(tmp_path.glob("*.json")) == []


def test_ctrl_c_stops_between_chunks_and_keeps_the_journal(tmp_path: Path) -> None:
    size = 9 * MB
    with FakeRegistry() as fake:
        fake.pace = 0.002
        command = [sys.executable, "-c", PUSH, fake.host, str(tmp_path), str(size)]
        environ = {**os.environ, "PYTHONPATH": "."}
        first = subprocess.Popen(command, env=environ, stderr=subprocess.PIPE, text=True)
        while fake.body_bytes() < 2 * MB:
            time.sleep(0.002)
        first.send_signal(signal.SIGINT)
        _, said = first.communicate(timeout=120)
        assert "StoppedEarly" in said
        assert len(list(tmp_path.glob("*.json"))) == 1
        fake.pace = 0.0
        subprocess.run(command, env=environ, check=True, capture_output=True)
        assert fake.body_bytes() == size + len(SmallImage([noise(size, 71)]).config), "each byte once"


def test_two_processes_do_not_send_a_blob_twice(tmp_path: Path) -> None:
    with FakeRegistry() as fake:
        fake.pace = 0.001
        command = [sys.executable, "-c", PUSH, fake.host, str(tmp_path), str(4 * MB)]
        environ = {**os.environ, "PYTHONPATH": "."}
        both = [subprocess.Popen(command, env=environ, stdout=subprocess.DEVNULL) for _ in range(2)]
        assert [process.wait(120) for process in both] == [0, 0]
        config = len(SmallImage([noise(4 * MB, 71)]).config)
        # Give or take one chunk, which a slow machine may send again; twice would be four more.
        assert 4 * MB <= fake.body_bytes() <= 5 * MB + 2 * config
