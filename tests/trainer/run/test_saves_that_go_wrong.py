"""Saves whose disk lies, refuses or is shared with a late rank: what counts as a good checkpoint, and what is told."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from trainer.checkpoint import folder, verify
from trainer.errors import TrainerError
from trainer.run.stop import StopRequest

pytestmark = pytest.mark.usefixtures("torch")


def train(config, run) -> int:
    from trainer.run.loop import train

    return train(config, run, StopRequest())


@pytest.fixture
def lossy(monkeypatch):
    """lossy(times): the disk loses the weights of so many checkpoints after they were written."""
    from trainer.checkpoint import publish

    forget = publish._forget

    def from_now_on(times: int) -> None:
        left = [times]

        def lose(target):
            if left[0]:
                left[0] -= 1
                (target / "weights-00000-00.safetensors").write_bytes(b"")
            forget(target)

        monkeypatch.setattr(publish, "_forget", lose)

    return from_now_on


def test_the_last_checkpoint_is_written_again_when_it_does_not_read_back(tmp_path, small, lossy):
    small.train.steps = 2
    lossy(1)
    assert train(small, tmp_path) == 0
    newest = folder.found(tmp_path / "checkpoints")[0]
    assert newest.name == "step-00000002" and verify.fault(newest) is None
    assert "does not read back as it was written" in (tmp_path / "training.log").read_text()


def test_a_run_whose_last_checkpoint_never_reads_back_does_not_end_well(tmp_path, small, lossy):
    small.train.steps = 2
    lossy(100)
    with pytest.raises(TrainerError, match="cannot save the checkpoint of step 2"):
        train(small, tmp_path)


def test_an_older_checkpoint_that_cannot_be_dropped_is_no_failed_save(tmp_path, small, monkeypatch):
    small.train.steps, small.checkpoint.every, small.checkpoint.keep = 3, 1, 1

    def refused(target):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(folder, "discard", refused)
    assert train(small, tmp_path) == 0
    words = (tmp_path / "training.log").read_text()
    assert "an older checkpoint cannot be dropped: Permission denied" in words and "cannot save" not in words
    assert len(folder.found(tmp_path / "checkpoints")) == 3


def test_what_a_late_rank_wrote_after_a_failed_save_goes_before_the_next(tmp_path, small):
    """Else a full disk stays full of it, and saving pauses for ever."""
    from trainer.run.save import _staging

    left = tmp_path / "checkpoints/.staging-step-00000001-1"
    left.mkdir(parents=True)
    (left / "weights-00001-00.safetensors").write_bytes(b"late")
    progress = SimpleNamespace(step=2)
    job = SimpleNamespace(
        checkpoints=tmp_path / "checkpoints",
        config=small,
        state=SimpleNamespace(progress=progress),
        world=SimpleNamespace(size=2),
        attempts=2,
    )
    assert _staging(job, [], ()) == tmp_path / "checkpoints/.staging-step-00000002-2"
    assert not left.exists()
