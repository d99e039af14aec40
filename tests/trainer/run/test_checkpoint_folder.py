"""Checkpoints are there or not there, whatever dies: no torch needed to show it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.errors import TrainerError
from trainer.run import checkpoint


def writer(text: str):
    def write(folder: Path) -> None:
        (folder / "model.pt").write_text(text)
        (folder / "optimizer.pt").write_text(text * 2)

    return write


def save(root: Path, step: int, keep: int = 3) -> Path:
    return checkpoint.save(root, step, writer(f"step {step}"), {"identity": {}}, keep)


class Died(BaseException):
    """Stands for SIGKILL: nothing of ours catches it."""


def test_a_saved_checkpoint_is_good_and_latest_points_at_it(tmp_path):
    folder = save(tmp_path, 5)
    assert checkpoint.fault(folder) is None
    assert (tmp_path / "latest").read_text() == "step-00000005\n"
    assert checkpoint.manifest(folder)["files"]["model.pt"]["bytes"] == 6


def test_only_the_newest_are_kept(tmp_path):
    for step in (9, 10, 11, 100):
        save(tmp_path, step, keep=2)
    assert [path.name for path in checkpoint.found(tmp_path)] == ["step-00000100", "step-00000011"]


def test_a_damaged_newer_checkpoint_does_not_push_out_good_older_ones(tmp_path):
    save(tmp_path, 50)
    (tmp_path / "step-00000050" / "model.pt").write_text("x")
    save(tmp_path, 45, keep=1)
    said: list[str] = []
    assert checkpoint.newest_good(tmp_path, said.append) == tmp_path / "step-00000045"
    assert len(said) == 1 and "WARNING" in said[0] and "step-00000050" in said[0]
    assert checkpoint.fault(save(tmp_path, 50)) is None, "reached again, it is replaced"


@given(position=st.integers(0, 10_000), bit=st.integers(0, 7), name=st.sampled_from(["model.pt", "optimizer.pt"]))
def test_any_flipped_bit_of_the_content_is_found(tmp_path_factory, position, bit, name):
    folder = save(tmp_path_factory.mktemp("flip"), 3)
    content = bytearray((folder / name).read_bytes())
    content[position % len(content)] ^= 1 << bit
    (folder / name).write_bytes(content)
    assert name in (checkpoint.fault(folder) or "")


@pytest.mark.parametrize("damage", ["truncate", "remove", "no manifest", "torn manifest", "empty manifest"])
def test_every_kind_of_damage_falls_back(tmp_path, damage):
    good, bad = save(tmp_path, 1), save(tmp_path, 2)
    manifest = bad / checkpoint.MANIFEST
    match damage:
        case "truncate":
            os.truncate(bad / "model.pt", 2)
        case "remove":
            (bad / "model.pt").unlink()
        case "no manifest":
            manifest.unlink()
        case "torn manifest":
            manifest.write_text(manifest.read_text()[:-9])
        case "empty manifest":
            manifest.write_text("[]")
    said: list[str] = []
    assert checkpoint.newest_good(tmp_path, said.append) == good
    assert len(said) == 1


@pytest.mark.parametrize("replace", [False, True], ids=["new step", "damaged step done again"])
def test_death_at_any_moment_of_a_save_leaves_a_good_checkpoint(tmp_path, monkeypatch, replace):
    """Dies before the n-th call that changes the disk, for every n until a save gets through."""
    for deaths in range(100):
        root = tmp_path / str(deaths)
        save(root, 1)
        if replace:
            (save(root, 2) / "model.pt").write_text("damaged")
        with monkeypatch.context() as patch:
            dies_after(patch, deaths)
            try:
                save(root, 2)
                survived = True
            except Died:
                survived = False
        newest = checkpoint.newest_good(root, lambda _: None)
        assert newest is not None and newest.name in ("step-00000001", "step-00000002")
        checkpoint.sweep(root)
        assert checkpoint.fault(save(root, 2)) is None, "and the next save works"
        assert not list(root.glob(".*-step-*"))
        if survived:
            assert deaths > 8
            return
    pytest.fail("the save never came to its end")


def dies_after(patch: pytest.MonkeyPatch, calls: int) -> None:
    left = [calls]

    def wrap(function):
        def wrapped(*arguments, **options):
            if left[0] == 0:
                raise Died
            left[0] -= 1
            return function(*arguments, **options)

        return wrapped

    patch.setattr(os, "fsync", wrap(os.fsync))
    patch.setattr(shutil, "rmtree", wrap(shutil.rmtree))
    for name in ("mkdir", "rename", "replace", "write_text"):
        patch.setattr(Path, name, wrap(getattr(Path, name)))


def test_a_full_disk_is_named_and_leaves_the_old_checkpoint(tmp_path):
    good = save(tmp_path, 1)

    def write(_folder: Path) -> None:
        with Path("/dev/full").open("w") as stream:
            stream.write("x" * 100_000)

    with pytest.raises(TrainerError, match=r"step 2.*No space left") as caught:
        checkpoint.save(tmp_path, 2, write, {}, 3)
    assert caught.value.exit_code == 3
    assert checkpoint.found(tmp_path) == [good]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["latest", "step-00000001"]


def test_death_at_any_moment_leaves_a_best_that_is_there(tmp_path, monkeypatch):
    for deaths in range(100):
        root = tmp_path / str(deaths)
        save(root, 1, keep=1)
        checkpoint.point(root, checkpoint.BEST, checkpoint.name_of(1))
        staging = checkpoint.stage(root, 2)
        (staging / "model.pt").write_text("better")
        with monkeypatch.context() as patch:
            dies_after(patch, deaths)
            try:
                pointers = (checkpoint.BEST, checkpoint.POINTER)
                checkpoint.publish(root, 2, staging, {}, 1, frozenset({checkpoint.name_of(2)}), pointers)
                survived = True
            except Died:
                survived = False
        assert checkpoint.pointed(root, checkpoint.BEST) is not None
        if survived:
            assert checkpoint.pointed(root, checkpoint.BEST).name == checkpoint.name_of(2)
            return
    pytest.fail("the save never came to its end")
