"""OCI image layouts: written by us, read by us and by others."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import threading
import time
from pathlib import Path

import pytest

from images.layers.blob import LayerBlob, write_layer
from images.layers.tar import Entry
from images.oci import media
from images.oci.digest import of_bytes
from images.oci.layout import Layout
from images.oci.manifest import Descriptor, Manifest, build, canonical
from profiles.errors import CheckFailed, OutsideFailed, WrongInput
from tests.conftest import program

FILES = {"opt/stoker/app/a.py": b"print(1)\n", "opt/stoker/name with space/ü.txt": "grüße".encode()}


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "layout")


def layer(layout: Layout, files: dict[str, bytes] = FILES, compression: str = "gzip") -> LayerBlob:
    entries = [
        Entry(path, "file", 0o755 if path.endswith(".py") else 0o644, len(data), lambda data=data: io.BytesIO(data))
        for path, data in files.items()
    ]
    return write_layer(entries, media.OCI, compression, layout.folder)


def image(layout: Layout, ref: str | None, *blobs: LayerBlob, base: tuple[Descriptor, ...] = ()) -> Manifest:
    config = canonical(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Env": ["A=1"], "Labels": {"name": str(ref)}},
            "rootfs": {"type": "layers", "diff_ids": [blob.diff_id for blob in blobs]},
            "history": [{"created_by": "test"} for _ in blobs],
        }
    )
    layers = [*base, *(blob.descriptor for blob in blobs)]
    manifest = build(
        {
            "schemaVersion": 2,
            "mediaType": media.OCI_MANIFEST,
            "config": Descriptor(media.OCI_CONFIG, layout.put_blob(config), len(config)).to_json(),
            "layers": [one.to_json() for one in layers],
        }
    )
    layout.put_manifest(manifest, ref)
    return manifest


def absent(seed: str, size: int = 10) -> Descriptor:
    return Descriptor(media.OCI_LAYER + "+gzip", of_bytes(seed.encode()), size)


def test_the_folder_is_a_layout_by_the_specification(layout: Layout) -> None:
    manifest = image(layout, "cpu-1.0", layer(layout))
    assert json.loads((layout.folder / "oci-layout").read_bytes()) == {"imageLayoutVersion": "1.0.0"}
    index = json.loads((layout.folder / "index.json").read_bytes())
    assert index["schemaVersion"] == 2
    assert index["manifests"] == [
        {
            "mediaType": media.OCI_MANIFEST,
            "digest": manifest.digest,
            "size": len(manifest.raw),
            "annotations": {"org.opencontainers.image.ref.name": "cpu-1.0"},
        }
    ]
    for path in layout.blobs.iterdir():
        assert hashlib.sha256(path.read_bytes()).hexdigest() == path.name


def test_skopeo_reads_it(layout: Layout) -> None:
    skopeo = program("skopeo")
    blob = layer(layout)
    manifest = image(layout, "cpu-1.0", blob)
    command = [skopeo, "inspect", f"oci:{layout.folder}:cpu-1.0"]
    seen = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    assert seen["Digest"] == manifest.digest
    assert seen["Layers"] == [blob.descriptor.digest]
    copied = layout.folder.parent / "copy"
    subprocess.run([skopeo, "copy", "-q", f"oci:{layout.folder}:cpu-1.0", f"oci:{copied}:x"], check=True)
    assert Layout(copied).manifest("x").raw == manifest.raw


def test_umoci_unpacks_the_files_with_their_modes(layout: Layout, tmp_path: Path) -> None:
    umoci = program("umoci")
    image(layout, "cpu-1.0", layer(layout))
    bundle = tmp_path / "bundle"
    command = [umoci, "unpack", "--rootless", "--image", f"{layout.folder}:cpu-1.0", str(bundle)]
    subprocess.run(command, check=True, capture_output=True)
    for path, data in FILES.items():
        found = bundle / "rootfs" / path
        assert found.read_bytes() == data
        assert found.stat().st_mode & 0o777 == (0o755 if path.endswith(".py") else 0o644)
        assert found.stat().st_mtime == 1


def test_manifests_are_found_by_name_and_by_digest(layout: Layout) -> None:
    manifest = image(layout, "cpu-1.0", layer(layout))
    unnamed = image(layout, None)
    assert layout.manifest("cpu-1.0").raw == manifest.raw
    assert layout.manifest(manifest.digest).raw == manifest.raw
    assert layout.manifest(unnamed.digest).media_type == media.OCI_MANIFEST
    assert set(layout.refs()) == {"cpu-1.0"}


def test_a_manifest_that_names_no_type_of_its_own_is_still_told(layout: Layout) -> None:
    digest = layout.put_blob(b'{"schemaVersion":2,"manifests":[]}')
    assert layout.manifest(digest).is_index


def test_an_unknown_name_is_refused_with_the_known_ones(layout: Layout) -> None:
    image(layout, "cpu-1.0")
    with pytest.raises(WrongInput, match="'gpu'") as caught:
        layout.manifest("gpu")
    assert "cpu-1.0" in caught.value.next_step


def test_a_name_moves_to_the_newest_image_and_can_be_removed(layout: Layout) -> None:
    image(layout, "latest", layer(layout))
    newer = image(layout, "latest")
    image(layout, "other")
    assert layout.refs()["latest"].digest == newer.digest
    assert layout.remove("latest") is True
    assert layout.remove("latest") is False
    assert set(layout.refs()) == {"other"}


@pytest.mark.parametrize("ref", ["", "a b", "../x", "a//b", "-a", "ü", "a\n"])
def test_illegal_names_are_refused(layout: Layout, ref: str) -> None:
    manifest = image(layout, None)
    with pytest.raises(WrongInput, match="reference name"):
        layout.put_manifest(manifest, ref)


def test_putting_the_same_twice_changes_nothing(layout: Layout) -> None:
    image(layout, "x", layer(layout))
    before = (layout.folder / "index.json").read_bytes(), sorted(layout.blobs.iterdir())
    image(layout, "x", layer(layout))
    assert ((layout.folder / "index.json").read_bytes(), sorted(layout.blobs.iterdir())) == before


def test_a_damaged_blob_is_noticed_when_read(layout: Layout) -> None:
    digest = layout.put_blob(b"config")
    layout.blob_path(digest).write_bytes(b"konfig")
    with pytest.raises(CheckFailed, match="damaged"):
        layout.read_blob(digest)


def test_a_damaged_blob_is_written_anew_when_it_is_put_again(layout: Layout) -> None:
    digest = layout.put_blob(b"config")
    layout.blob_path(digest).write_bytes(b"konfig")
    layout.put_blob(b"config")
    assert layout.read_blob(digest) == b"config"


def test_absent_and_oversized_blobs_are_named(layout: Layout) -> None:
    with pytest.raises(OutsideFailed, match="has no blob sha256:"):
        layout.open(of_bytes(b"nothing"))
    with pytest.raises(OutsideFailed, match="larger than 3 bytes"):
        layout.read_blob(layout.put_blob(b"12345"), limit=3)
    with pytest.raises(WrongInput, match="not a sha256 digest"):
        layout.blob_path("sha256:../../../etc/passwd")


def test_a_foreign_index_json_is_refused(layout: Layout) -> None:
    layout.folder.mkdir()
    (layout.folder / "index.json").write_text("[]")
    with pytest.raises(OutsideFailed, match="no OCI index") as caught:
        layout.refs()
    assert caught.value.next_step.startswith(f"rm {layout.folder}/index.json")


def test_adopting_checks_the_digest(layout: Layout, tmp_path: Path) -> None:
    made = tmp_path / "made"
    made.write_bytes(b"blob")
    with pytest.raises(CheckFailed, match="not sha256:"):
        layout.adopt(made, of_bytes(b"other"))
    assert layout.adopt(made, of_bytes(b"blob")).read_bytes() == b"blob"
    assert made.exists()
    made.write_bytes(b"changed afterwards")
    assert layout.read_blob(of_bytes(b"blob")) == b"blob"


def test_a_sparse_layout_says_what_it_lacks(layout: Layout) -> None:
    base = absent("base layer")
    manifest = image(layout, "x", layer(layout), base=(base, base))
    assert layout.missing(manifest) == [base]
    child = {**manifest.descriptor.to_json(), "platform": {"os": "linux", "architecture": "amd64"}}
    other = absent("other child").to_json() | {"mediaType": media.OCI_MANIFEST}
    index = build({"schemaVersion": 2, "mediaType": media.OCI_INDEX, "manifests": [child, other]})
    assert {one.digest for one in layout.missing(index)} == {base.digest, other["digest"]}


def test_gc_frees_only_what_nothing_reaches(layout: Layout) -> None:
    manifest = image(layout, "kept", layer(layout))
    index = build({"schemaVersion": 2, "mediaType": media.OCI_INDEX, "manifests": [manifest.descriptor.to_json()]})
    layout.put_manifest(index, "index")
    layout.remove("kept")  # still reached through the index
    loose, named = layout.put_blob(b"loose" * 100), layout.put_blob(b"named")
    image(layout, "gone", layer(layout, {"opt/stoker/gone": b"x"}))
    layout.remove("gone")
    (layout.temporary / "dead").write_bytes(b"12345")
    before = sum(path.stat().st_size for path in layout.blobs.iterdir())

    assert layout.gc(keep=[named], grace=0) == before + 5 - sum(p.stat().st_size for p in layout.blobs.iterdir())

    assert not layout.has(loose)
    assert layout.has(named)
    assert layout.missing(layout.manifest("index")) == []
    assert len(list(layout.blobs.iterdir())) == 5  # index, manifest, config, layer, and the one named


def test_gc_leaves_young_blobs_to_the_build_that_is_writing_them(layout: Layout) -> None:
    young, old = layout.put_blob(b"young"), layout.put_blob(b"old")
    again = layout.put_blob(b"old but used again")
    for digest in (old, again):
        os.utime(layout.blob_path(digest), (time.time() - 3600,) * 2)
    layout.put_blob(b"old but used again")
    assert layout.gc() == 3
    assert (layout.has(young), layout.has(old), layout.has(again)) == (True, False, True)


def test_many_writers_at_once_lose_nothing(layout: Layout) -> None:
    failed: list[Exception] = []

    def work(number: int) -> None:
        try:
            for turn in range(5):
                image(layout, f"image-{number}-{turn}")
        except Exception as error:
            failed.append(error)

    workers = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert failed == []
    assert len(layout.refs()) == 30
    assert list(layout.temporary.iterdir()) == []


def test_has_compares_the_size_when_one_is_given(layout: Layout) -> None:
    digest = layout.put_blob(b"12345")
    assert layout.has(digest)
    assert layout.has(digest, 5)
    assert not layout.has(digest, 6)
    assert not layout.has(of_bytes(b"nothing"))
