"""prune: what nobody needs goes; what a build, a lock or the ledger needs stays."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path

import pytest

from images.checks.prune import prune_store
from images.registry.journal import Entry, Journal
from tests.images.checks.conftest import Workshop

DAY = 86400


def age(path: Path, days: float) -> None:
    """Makes a file or folder, with all in it, as old as if nobody had touched it for `days`."""
    then = time.time() - days * DAY
    for one in [path, *(path.rglob("*") if path.is_dir() else ())]:
        os.utime(one, (then, then), follow_symlinks=False)


def built(workshop: Workshop, days: float, **changes: str) -> str:
    """An image of that age; its blobs are as old."""
    image = workshop.image(**changes)
    path = workshop.store.images / f"{image.plan.tag}.json"
    when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - days * DAY))
    path.write_text(json.dumps({**json.loads(path.read_text()), "built": when}))
    layout = workshop.store.layout
    for manifest in (image.manifest, layout.manifest(image.plan.base.digest)):
        for digest in (manifest.digest, manifest.config.digest, *(layer.digest for layer in manifest.layers)):
            age(layout.blob_path(digest), days)
    return image.plan.tag


def digest_of(workshop: Workshop, tag: str) -> str:
    return workshop.store.layout.refs()[tag].digest


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


class TestImages:
    def test_old_ones_go_with_their_blobs_and_rows(self, workshop: Workshop):
        old = built(workshop, 30, trainer="print('old')\n")
        new = built(workshop, 1)
        digest = digest_of(workshop, old)
        done = prune_store(workshop.bench, 14)
        assert done["images"] == [old]
        assert done["blobs"] == 3  # manifest, config, trainer layer
        assert done["layer_rows"] == 1
        assert done["freed"] > 0
        assert not workshop.store.layout.has(digest)
        assert set(workshop.store.layout.refs()) >= {new}
        assert not (workshop.store.images / f"{old}.json").exists()

    def test_the_newest_of_a_profile_stays_whatever_its_age(self, workshop: Workshop):
        older, newest = built(workshop, 90, trainer="print('older')\n"), built(workshop, 60)
        assert prune_store(workshop.bench, 14)["images"] == [older]
        manifest = workshop.store.layout.manifest(newest)
        assert workshop.store.layout.missing(manifest) == []

    def test_days_0_takes_it_too(self, workshop: Workshop):
        tag = built(workshop, 60)
        done = prune_store(workshop.bench, 0)
        assert done["images"] == [tag]
        assert len(done["bases"]) == 1
        assert list(workshop.store.layout.blobs.iterdir()) == []
        assert list(workshop.store.bases.glob("*.json")) == []

    def test_young_ones_stay(self, workshop: Workshop):
        built(workshop, 2, trainer="print('a')\n"), built(workshop, 1)
        done = prune_store(workshop.bench, 14)
        assert (done["images"], done["blobs"], done["freed"]) == ([], 0, 0)

    def test_the_base_stays_while_an_image_stands_on_it(self, workshop: Workshop):
        built(workshop, 30)
        assert prune_store(workshop.bench, 14)["bases"] == []
        assert len(list(workshop.store.bases.glob("*.json"))) == 1

    def test_a_dry_run_counts_the_same_and_does_nothing(self, workshop: Workshop):
        built(workshop, 30, trainer="print('old')\n")
        built(workshop, 20)
        stale = workshop.store.wheels / ("ab" * 8)
        stale.mkdir()
        (stale / "demo-0.9-py3-none-any.whl").write_bytes(b"x" * 100)
        age(stale, 30)
        before = snapshot(workshop.store.root)
        told = prune_store(workshop.bench, 14, True)
        assert snapshot(workshop.store.root) == before
        done = prune_store(workshop.bench, 14)
        assert {**told, "dry_run": False} == done
        assert done["wheels"] == 1


class TestBesideABuild:
    def test_an_image_that_was_built_again_a_moment_ago_stays(self, workshop: Workshop):
        tag = built(workshop, 30, trainer="print('old')\n")
        built(workshop, 1)
        # A build at work has touched the manifest and not yet written its row.
        os.utime(workshop.store.layout.blob_path(digest_of(workshop, tag)))
        assert prune_store(workshop.bench, 14)["images"] == []
        assert prune_store(workshop.bench, 0)["images"] != [tag]
        assert tag in workshop.store.layout.refs()

    def test_blobs_without_a_manifest_yet_stay(self, workshop: Workshop):
        built(workshop, 1)
        digest = workshop.store.layout.put_blob(b"a layer whose manifest is still to come")
        prune_store(workshop.bench, 0)
        assert workshop.store.layout.has(digest)

    def test_layers_used_since_stay_in_the_cache_without_an_image(self, workshop: Workshop):
        tag = built(workshop, 30)
        manifest = workshop.store.layout.manifest(tag)
        trainer = workshop.store.layout.blob_path(manifest.layers[-1].digest)
        age(trainer, 3)
        workshop.store.layout.remove(tag)
        (workshop.store.images / f"{tag}.json").unlink()
        prune_store(workshop.bench, 14)
        assert trainer.exists()
        assert not workshop.store.layout.has(manifest.layers[1].digest)

    def test_builds_and_prunes_at_once_leave_whole_images(self, workshop: Workshop):
        failures: list[BaseException] = []
        stop = threading.Event()

        def prune() -> None:
            try:
                while not stop.is_set():
                    prune_store(workshop.bench, 0)
            except BaseException as failure:
                failures.append(failure)

        thread = threading.Thread(target=prune)
        thread.start()
        tags = [workshop.image(trainer=f"print({number})\n").plan.tag for number in range(12)]
        stop.set()
        thread.join()
        assert failures == []
        for tag in tags:
            assert workshop.store.layout.missing(workshop.store.layout.manifest(tag)) == []


class TestCaches:
    def wheel(self, workshop: Workshop, sha256: str, days: float) -> Path:
        folder = workshop.store.wheels / sha256[:16]
        folder.mkdir(exist_ok=True)
        (folder / "demo-1.0-py3-none-any.whl").write_bytes(b"wheel")
        age(folder, days)
        return folder

    def test_wheels_that_no_lock_names_go(self, workshop: Workshop, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
        committed, here, young = "a" * 64, "b" * 64, "d" * 64
        folders = {name: self.wheel(workshop, name, 30) for name in (committed, here, "c" * 64)}
        self.wheel(workshop, young, 2)
        monkeypatch.setenv("STOKER_LOCKS", str(tmp_path / "locks"))
        for folder, sha256 in ((tmp_path / "locks", committed), (workshop.store.folder("locks"), here)):
            folder.mkdir(exist_ok=True)
            (folder / "cpu.json").write_text(json.dumps({"wheels": {"linux/amd64": [{"sha256": sha256}]}}))
        assert prune_store(workshop.bench, 14)["wheels"] == 1
        assert [name for name, folder in folders.items() if not folder.exists()] == ["c" * 64]
        assert (workshop.store.wheels / young[:16]).exists()

    def test_wheels_of_an_image_that_stays_stay(self, workshop: Workshop):
        tag = built(workshop, 30)
        plan = json.loads((workshop.store.images / f"{tag}.json").read_text())["plan"]
        folder = self.wheel(workshop, plan["layers"][0]["wheels"][0]["sha256"], 30)
        assert prune_store(workshop.bench, 14)["wheels"] == 0
        assert folder.exists()
        assert prune_store(workshop.bench, 0)["wheels"] == 1

    def test_rows_whose_layer_is_gone_or_that_are_torn_go(self, workshop: Workshop):
        tag = built(workshop, 1)
        rows = workshop.store.cache / "layers"
        count = len(list(rows.glob("*.json")))
        workshop.store.layout.blob_path(workshop.store.layout.manifest(tag).layers[-1].digest).unlink()
        (rows / "torn.json").write_text("{")
        age(rows, 1)
        assert prune_store(workshop.bench, 14)["layer_rows"] == 2
        assert len(list(rows.glob("*.json"))) == count - 1

    def test_what_killed_processes_left_goes_after_a_day(self, workshop: Workshop):
        old, young = workshop.store.folder("tmp", "base-old"), workshop.store.folder("tmp", "base-new")
        download = workshop.store.folder("wheels", "fetch-abc")
        (old / "root.tar").write_bytes(b"x" * 1000)
        age(old, 2)
        age(download, 2)
        done = prune_store(workshop.bench, 14)
        assert (done["temporary"], done["freed"]) == (1, 1000)
        assert not old.exists() and young.exists() and not download.exists()


class TestUploads:
    def entry(self, workshop: Workshop, digest: str, days: float) -> Entry:
        opened = time.time() - days * DAY
        return Entry("r.example", "app", digest, 9, "https://r.example/upload?state=x", 3, opened)

    def test_old_ones_go_and_those_in_use_stay(self, workshop: Workshop):
        journal = Journal(workshop.store.journal)
        digests = ["sha256:" + digit * 64 for digit in "123"]
        for digest, days in zip(digests, (30, 30, 2), strict=True):
            with journal.hold("r.example", "app", digest) as slot:
                slot.save(self.entry(workshop, digest, days))
        with journal.hold("r.example", "app", digests[1]):  # another process is sending this one
            assert prune_store(workshop.bench, 14)["uploads"] == 1
        assert sorted(entry.digest for entry in journal.entries()) == digests[1:]


class TestTheLedger:
    def test_is_never_touched(self, workshop: Workshop):
        built(workshop, 300)
        kept = {"ledger.sqlite": b"runs", "ledger.sqlite-wal": b"more", "ledger/run-1.json": b"{}"}
        for name, data in kept.items():
            path = workshop.store.root / name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(data)
            age(path, 300)
        prune_store(workshop.bench, 0)
        assert {name: (workshop.store.root / name).read_bytes() for name in kept} == kept
