"""file://: kills, torn partials, a full disk, a volume that cannot be written or is gone."""

from __future__ import annotations

import hashlib
import os
import subprocess
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.trainer.stores.sender import killed
from tests.trainer.stores.specification import item, noise, still, whole
from trainer.stores.file import Folder
from trainer.stores.partial import belongs, is_partial, partial_of
from trainer.stores.store import Item, StoreError

MIB = 1 << 20


@pytest.fixture
def volume(tmp_path):
    return Folder(f"file://{tmp_path}/volume")


@contextmanager
def mounted(folder: Path, options: str):
    """A tmpfs there; skipped where mounting is not allowed."""
    folder.mkdir(exist_ok=True)
    if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder]).returncode:
        pytest.skip("only root may mount")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=False, capture_output=True)


@pytest.mark.parametrize("after", [1, 5 * MIB, 8 * MIB])
def test_a_kill_at_any_byte_leaves_nothing_new_visible_and_the_next_put_goes_on(volume, tmp_path, after):
    volume.put([item("step/weights", b"old")], still)
    source = tmp_path / "source"
    source.write_bytes(noise(8 * MIB))
    killed("file", volume.url, source, "step/weights", after)
    assert volume.list() == {"step/weights": 3} and whole(volume, "step/weights") == b"old"
    counted = []
    volume.put([Item("step/weights", source, 8 * MIB)], counted.append)
    assert sum(counted) <= 8 * MIB - after + MIB and whole(volume, "step/weights") == noise(8 * MIB)
    assert [path.name for path in (tmp_path / "volume" / "step").iterdir()] == ["weights"]


@pytest.mark.parametrize("torn", [b"\0" * (2 * MIB), b"\0" * (4 * MIB), noise(2 * MIB)[:-1] + b"!"])
def test_a_partial_with_wrong_bytes_is_not_built_upon(volume, tmp_path, torn):
    content = noise(3 * MIB)
    partial = tmp_path / "volume" / partial_of("a", hashlib.sha256(content).hexdigest())
    partial.parent.mkdir()
    partial.write_bytes(torn)
    volume.put([item("a", content)], still)
    assert whole(volume, "a") == content and [path.name for path in (tmp_path / "volume").iterdir()] == ["a"]


def test_a_partial_of_another_content_is_never_taken_and_is_removed(volume, tmp_path):
    old = tmp_path / "volume" / partial_of("a", "0" * 64)
    neighbour = tmp_path / "volume" / partial_of("a.b", "0" * 64)
    old.parent.mkdir()
    old.write_bytes(b"old")
    neighbour.write_bytes(b"not a's")
    volume.put([item("a", b"new")], still)
    assert whole(volume, "a") == b"new" and not old.exists() and neighbour.exists()


def test_deleting_removes_half_sent_files_and_empty_folders_but_nothing_else(volume, tmp_path):
    volume.put([item("x/step-1/a", b"1"), item("x/step-2/a", b"1")], still)
    half = tmp_path / "volume" / partial_of("x/step-1/never-came", "1" * 64)
    half.write_bytes(b"half")
    volume.delete(["x/step-1/a"])
    assert not (tmp_path / "volume" / "x" / "step-1").exists() and volume.list() == {"x/step-2/a": 1}


def test_a_full_volume_is_said_and_leaves_the_old_file(tmp_path):
    with mounted(tmp_path / "small", "size=2m") as small:
        store = Folder(f"file://{small}/run")
        store.put([item("a", b"old")], still)
        with pytest.raises(StoreError, match="No space left") as full:
            store.put([item("a", noise(4 * MIB))], still)
        assert not full.value.transient and "make room" in full.value.next_step
        assert whole(store, "a") == b"old" and store.list() == {"a": 3}
        store.delete(["a"])
        store.put([item("a", noise(MIB))], still)
        assert whole(store, "a") == noise(MIB)


def test_a_read_only_volume_is_said(tmp_path):
    with mounted(tmp_path / "closed", "size=1m,ro") as closed, pytest.raises(StoreError, match="Read-only") as refused:
        Folder(f"file://{closed}/run").put([item("a", b"1")], still)
    assert not refused.value.transient


def test_a_volume_that_vanished_is_not_replaced_by_the_disk_below(tmp_path):
    with mounted(tmp_path / "volume", "size=1m") as volume:
        store = Folder(f"file://{volume}/run")
        store.put([item("a", b"1")], still)
        subprocess.run(["umount", volume], check=True)
        for act in (store.list, lambda: store.put([item("b", b"1")], still), lambda: store.delete(["a"])):
            with pytest.raises(StoreError, match="no longer mounted") as gone:
                act()
            assert gone.value.transient
        assert not any(volume.iterdir())


def test_links_and_foreign_partials_are_not_listed(volume, tmp_path):
    volume.put([item("a", b"1"), item(".a.partial", b"22")], still)
    (tmp_path / "volume" / "link").symlink_to("a")
    assert volume.list() == {"a": 1, ".a.partial": 2}


def test_an_error_of_the_callers_own_comes_through_as_it_is(volume):
    def moved(size):
        raise TimeoutError("the caller's")

    with pytest.raises(TimeoutError, match="the caller's"):
        volume.put([item(name, noise(MIB)) for name in "abcdef"], moved)


def test_a_partial_belongs_to_one_name():
    for name in ("a", "a.b", ".a", "é" * 120, "x" * 255):
        partial = partial_of(f"folder/{name}", "0123456789abcdef" * 4).removeprefix("folder/")
        assert is_partial(partial) and belongs(partial, name) and len(partial.encode()) <= 255
        assert not belongs(partial, name + "b") and not is_partial(name)


def test_a_file_where_a_folder_should_be_is_no_empty_store(tmp_path):
    from trainer.stores.open import open_store

    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match="is a file") as refused:
        open_store(f"file://{tmp_path}/file/run")
    assert not refused.value.transient
