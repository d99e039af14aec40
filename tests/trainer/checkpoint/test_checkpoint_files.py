"""Checkpoints are there or not there, whatever dies or is damaged."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.checkpoint import folder, manifest, verify

pytestmark = pytest.mark.usefixtures("torch")


@pytest.fixture
def save(torch):
    from tests.trainer.checkpoint import made

    return made.save


class Died(BaseException):
    """Stands for SIGKILL: nothing of ours catches it."""


def test_a_saved_checkpoint_is_good_and_latest_points_at_it(save, tmp_path):
    made = save(tmp_path, 5)
    assert verify.fault(made) is None
    assert folder.pointed(tmp_path, folder.LATEST) == made
    assert sorted(path.name for path in made.iterdir()) == [
        "manifest.json",
        "optimizer-00000-00.safetensors",
        "random-00000.json",
        "weights-00000-00.safetensors",
    ]


def test_only_the_newest_are_kept_and_the_best(save, tmp_path):
    save(tmp_path, 5, best=True)
    for step in (9, 10, 11, 100):
        save(tmp_path, step, keep=2)
    assert [path.name for path in folder.found(tmp_path)] == ["step-00000100", "step-00000011", "step-00000005"]


def test_a_damaged_newer_checkpoint_does_not_push_out_good_older_ones(save, tmp_path):
    (save(tmp_path, 50) / "weights-00000-00.safetensors").write_text("x")
    save(tmp_path, 45, keep=1)
    said: list[str] = []
    assert verify.newest_good(tmp_path, said.append) == tmp_path / "step-00000045"
    assert len(said) == 1 and "step-00000050 is damaged" in said[0]
    assert verify.fault(save(tmp_path, 50)) is None, "reached again, it is replaced"


def test_nothing_is_dropped_when_the_new_one_does_not_read_back(save, tmp_path, monkeypatch):
    """A disk that loses what it was told would else take the last good checkpoint with it."""
    from trainer.checkpoint import publish

    for step in (1, 2):
        save(tmp_path, step, keep=1)
    assert [path.name for path in folder.found(tmp_path)] == ["step-00000002"]
    forget = publish._forget

    def lossy(target: Path) -> None:
        (target / "weights-00000-00.safetensors").write_bytes(b"")
        forget(target)

    monkeypatch.setattr(publish, "_forget", lossy)
    assert verify.fault(save(tmp_path, 3, keep=1)) is not None
    assert [path.name for path in folder.found(tmp_path)] == ["step-00000003", "step-00000002"]


@given(data=st.data())
def test_any_flipped_bit_of_any_file_is_found(torch, tmp_path_factory, data):
    from tests.trainer.checkpoint import made

    saved = made.save(tmp_path_factory.mktemp("flip"), 3)
    name = data.draw(st.sampled_from(sorted(path.name for path in saved.iterdir())))
    content = bytearray((saved / name).read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    (saved / name).write_bytes(content)
    assert name in (verify.fault(saved) or ""), "the manifest itself included"


@given(data=st.data())
def test_any_truncation_of_any_file_is_found(torch, tmp_path_factory, data):
    from tests.trainer.checkpoint import made

    saved = made.save(tmp_path_factory.mktemp("cut"), 3)
    name = data.draw(st.sampled_from(sorted(path.name for path in saved.iterdir())))
    size = (saved / name).stat().st_size
    os.truncate(saved / name, data.draw(st.integers(0, size - 1)))
    assert name in (verify.fault(saved) or "")


@pytest.mark.parametrize("damage", ["remove", "no manifest", "empty manifest", "list", "old format", "another folder"])
def test_every_kind_of_damage_falls_back(save, tmp_path, damage):
    good, bad = save(tmp_path, 1), save(tmp_path, 2)
    file = bad / manifest.MANIFEST
    content = manifest.read(bad)
    match damage:
        case "remove":
            (bad / "weights-00000-00.safetensors").unlink()
        case "no manifest":
            file.unlink()
        case "empty manifest":
            file.write_text("")
        case "list":
            file.write_text("[]\n")
        case "old format":
            file.write_bytes(manifest.sealed({**content, "format": 2}))
        case "another folder":
            file.write_bytes(manifest.sealed({**content, "files": {"../latest": {"bytes": 14, "sha256": "0"}}}))
    said: list[str] = []
    assert verify.newest_good(tmp_path, said.append) == good
    assert len(said) == 1


def test_weights_alone_are_passed_over(save, tmp_path):
    from trainer.checkpoint import thin

    good, bare = save(tmp_path, 1), save(tmp_path, 2)
    thin.thin(bare)
    said: list[str] = []
    assert verify.newest_good(tmp_path, said.append) == good
    assert "weights only" in said[0]


@pytest.mark.parametrize("replace", [False, True], ids=["new step", "damaged step done again"])
@pytest.mark.parametrize("best", [False, True], ids=["latest", "latest and best"])
def test_death_at_any_moment_of_a_save_leaves_a_good_checkpoint(save, tmp_path, monkeypatch, replace, best):
    """Dies before the n-th call that changes the disk, for every n until a save gets through."""
    for deaths in range(200):
        root = tmp_path / str(deaths)
        save(root, 1, best=True)
        if replace:
            (save(root, 2) / "weights-00000-00.safetensors").write_text("damaged")
        with monkeypatch.context() as patch:
            dies_after(patch, deaths)
            try:
                save(root, 2, keep=1, best=best)
                survived = True
            except Died:
                survived = False
        newest = verify.newest_good(root, lambda _: None)
        assert newest is not None and newest.name in ("step-00000001", "step-00000002")
        assert folder.pointed(root, folder.BEST) is not None
        folder.sweep(root)
        assert verify.fault(save(root, 2)) is None, "and the next save works"
        assert not list(root.glob(".staging-*")) and not list(root.glob(".discarded-*"))
        if survived:
            assert deaths > 12
            return
        shutil.rmtree(root)
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

    for name in ("fsync", "write"):
        patch.setattr(os, name, wrap(getattr(os, name)))
    patch.setattr(shutil, "rmtree", wrap(shutil.rmtree))
    for name in ("mkdir", "rename", "replace", "unlink"):
        patch.setattr(Path, name, wrap(getattr(Path, name)))


def test_what_a_kill_left_is_swept_and_downloads_stay(save, tmp_path):
    save(tmp_path, 1)
    for name in (".staging-step-00000002-1", ".discarded-step-00000000", ".incoming-step-00000003"):
        (tmp_path / name).mkdir()
    folder.sweep(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".incoming-step-00000003", "latest", "step-00000001"]


@pytest.mark.parametrize("text", ["", "..", "step-00000009", "/etc", "latest", "\xff"])
def test_a_pointer_to_nothing_of_ours_is_no_pointer(tmp_path, text):
    (tmp_path / "latest").write_text(text, encoding="latin-1")
    assert folder.pointed(tmp_path, "latest") is None
