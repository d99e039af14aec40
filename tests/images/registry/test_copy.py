from __future__ import annotations

from pathlib import Path

import pytest

from images.oci.manifest import Manifest
from images.registry.copy import copy_image
from images.registry.errors import DigestMismatch, Missing
from images.registry.push import push_image, push_index
from images.registry.registries import Registries
from images.registry.repository import Repository
from images.registry.upload import Chunking
from profiles.errors import OutsideFailed, Refused
from tests.images.registry.conftest import SmallImage, index_of, noise
from tests.sim.fault_proxy import FaultProxy, Rule

MB = 1 << 20
SMALL = Chunking(MB, MB)


@pytest.fixture
def source(registries: Registries, proxy: FaultProxy, name: str) -> Repository:
    """Behind the fault proxy: the target is the other registry."""
    return registries.repository(f"{proxy.host}/{name}")


@pytest.fixture
def target(registries: Registries, other_registry: str, name: str) -> Repository:
    return registries.repository(f"{other_registry}/{name}")


@pytest.fixture
def index(source: Repository) -> Manifest:
    images = [SmallImage([noise(2 * MB, 81), b"amd"]), SmallImage([b"arm"], architecture="arm64")]
    push_index(images, index_of(*images), source, ["v1"])
    return index_of(*images)


def test_an_estimate_comes_first_and_a_dry_run_stops_there(
    source: Repository, target: Repository, index: Manifest
) -> None:
    estimate = copy_image(source, "v1", target, ["v1"], dry_run=True).estimate
    config = source.manifest(index.children[0].digest).config
    assert (estimate.missing_blobs, estimate.missing_size) == (3, 2 * MB + 3 + config.size)
    assert target.tags() == []


def test_one_platform_stands_alone_at_the_target(source: Repository, target: Repository, index: Manifest) -> None:
    result = copy_image(source, "v1", target, ["v1"], chunking=SMALL)
    assert result.digest == index.children[0].digest == target.manifest("v1").digest
    assert result.bytes_sent == result.estimate.missing_size
    for layer in target.manifest("v1").layers:
        assert sum(len(piece) for piece in target.stream(layer)) == layer.size
    with pytest.raises(Missing):
        target.manifest(index.children[1].digest)


def test_all_platforms_keep_the_index_byte_for_byte(source: Repository, target: Repository, index: Manifest) -> None:
    copy_image(source, "v1", target, ["all"], None)
    assert target.manifest("all").raw == index.raw
    assert all(target.manifest(child.digest) for child in index.children)


def test_a_platform_that_is_not_there_is_told(source: Repository, target: Repository, index: Manifest) -> None:
    with pytest.raises(OutsideFailed, match="no linux/riscv64; it has linux/amd64, linux/arm64"):
        copy_image(source, "v1", target, ["v1"], "linux/riscv64")


def test_a_second_copy_moves_nothing(
    source: Repository, target: Repository, index: Manifest, proxy: FaultProxy
) -> None:
    copy_image(source, "v1", target, ["v1"])
    gets = proxy.count("GET", "/blobs/")
    assert copy_image(source, "v1", target, ["v1"]).bytes_sent == 0
    assert copy_image(source, "v1", target, ["other"]).bytes_sent == 0
    assert proxy.count("GET", "/blobs/") == gets


def test_a_cut_source_goes_on_at_its_byte(
    source: Repository, target: Repository, index: Manifest, proxy: FaultProxy
) -> None:
    proxy.add(*(Rule("GET", "/blobs/sha256", after=n, cut_response=700_000) for n in (0, 0, 0)))
    result = copy_image(source, "v1", target, ["v1"], chunking=SMALL)
    assert result.bytes_sent == result.estimate.missing_size


def test_a_source_that_sends_other_bytes_leaves_no_tag(
    source: Repository, target: Repository, index: Manifest, proxy: FaultProxy
) -> None:
    big = source.manifest(index.children[0].digest).layers[0].digest
    proxy.add(Rule("GET", big, times=99, flip=MB + 5))
    with pytest.raises(DigestMismatch):
        copy_image(source, "v1", target, ["v1"], chunking=SMALL)
    assert target.head("v1") is None
    assert not target.has_blob(big)


def test_a_tag_with_another_digest_is_refused(source: Repository, target: Repository, index: Manifest) -> None:
    push_image(SmallImage([b"else"]), target, ["v1"])
    with pytest.raises(Refused):
        copy_image(source, "v1", target, ["v1"])
    copy_image(source, "v1", target, ["v1"], force=True)


def test_within_one_registry_blobs_are_mounted(
    registries: Registries, source: Repository, index: Manifest, proxy: FaultProxy, name: str
) -> None:
    result = copy_image(source, "v1", registries.repository(f"{proxy.host}/{name}-copy"), ["v1"])
    assert {blob.how for blob in result.blobs} == {"mounted"}
    assert result.bytes_sent == 0


def test_a_mirror_stands_for_a_registry(
    no_login: object, source: Repository, target: Repository, index: Manifest, proxy: FaultProxy, name: str
) -> None:
    from images.registry.address import Settings

    settings = Settings.from_env({"STOKER_MIRROR": f"nvcr.io={proxy.host}"})
    with Registries(settings, credentials=no_login) as mirrored:  # type: ignore[arg-type]
        repository = mirrored.repository(f"nvcr.io/{name}:v1")
        assert str(repository) == f"nvcr.io/{name}"
        assert repository.manifest().digest == index.digest
        with pytest.raises(Missing, match=f"nvcr.io/{name}: not found"):
            repository.manifest("nope")


def test_jobs_and_memory_stay_small(source: Repository, target: Repository, index: Manifest, tmp_path: Path) -> None:
    import tracemalloc

    tracemalloc.start()
    copy_image(source, "v1", target, ["v1"], journal_dir=tmp_path / "j", chunking=Chunking(64 * MB, 64 * MB))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 6 * MB, "one buffer of 1 MiB per job and direction, whatever the layer weighs"
