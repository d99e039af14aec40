"""The layer cache: trusts nothing that is not there, and survives company."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from images.layers.blob import LayerBlob, write_layer
from images.layers.cache import LayerCache
from images.layers.tar import Entry
from images.oci import media
from profiles.errors import WrongInput

KEY = "k" * 64


@pytest.fixture
def blob(tmp_path: Path, file_entry: Callable[..., Entry]) -> LayerBlob:
    return write_layer([file_entry("opt/stoker/a", b"alpha")], media.OCI, "gzip", tmp_path / "layout")


@pytest.fixture
def cache(tmp_path: Path) -> LayerCache:
    return LayerCache(tmp_path / "cache", tmp_path / "layout")


def test_a_kept_layer_is_found_again_whole(cache: LayerCache, blob: LayerBlob) -> None:
    assert cache.find(KEY, "gzip", media.OCI) is None
    cache.keep(KEY, "gzip", blob)
    assert cache.find(KEY, "gzip", media.OCI) == blob


def test_other_inputs_and_other_compressors_are_other_layers(cache: LayerCache, blob: LayerBlob) -> None:
    cache.keep(KEY, "gzip", blob)
    assert cache.find("l" * 64, "gzip", media.OCI) is None
    assert cache.find(KEY, "zstd", media.OCI) is None


def test_the_media_type_follows_the_manifest_asked_for(cache: LayerCache, blob: LayerBlob) -> None:
    cache.keep(KEY, "gzip", blob)
    found = cache.find(KEY, "gzip", media.DOCKER)
    assert found is not None
    assert found.descriptor.media_type == media.DOCKER.gzip_layer
    assert found.descriptor.digest == blob.descriptor.digest
    with pytest.raises(WrongInput):
        cache.find(KEY, "zstd", media.DOCKER)


def test_a_missing_or_cut_blob_is_known_but_not_found(cache: LayerCache, blob: LayerBlob) -> None:
    cache.keep(KEY, "gzip", blob)
    blob.path.write_bytes(blob.path.read_bytes()[:-1])
    assert cache.find(KEY, "gzip", media.OCI) is None
    blob.path.unlink()
    assert cache.find(KEY, "gzip", media.OCI) is None
    assert cache.known(KEY, "gzip", media.OCI) == blob


@pytest.mark.parametrize(
    "damage", [b"", b"{", b"[]", b'{"digest": "../../etc/passwd", "size": 1}', b'{"digest": 3}', b"\xff\xfe"]
)
def test_a_damaged_row_only_costs_a_rebuild(cache: LayerCache, blob: LayerBlob, damage: bytes) -> None:
    cache.keep(KEY, "gzip", blob)
    cache.row(KEY, "gzip").write_bytes(damage)
    assert cache.find(KEY, "gzip", media.OCI) is None
    cache.keep(KEY, "gzip", blob)
    assert cache.find(KEY, "gzip", media.OCI) == blob


def test_finding_makes_the_blob_young_so_that_gc_leaves_it(cache: LayerCache, blob: LayerBlob) -> None:
    cache.keep(KEY, "gzip", blob)
    os.utime(blob.path, (1, 1))
    cache.find(KEY, "gzip", media.OCI)
    assert blob.path.stat().st_mtime > 1


def test_readers_never_see_half_a_row(cache: LayerCache, blob: LayerBlob) -> None:
    cache.keep(KEY, "gzip", blob)
    missed = []

    def read() -> None:
        missed.extend(1 for _ in range(200) if cache.find(KEY, "gzip", media.OCI) is None)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for _ in range(50):
        cache.keep(KEY, "gzip", blob)
    for reader in readers:
        reader.join()
    assert missed == []
