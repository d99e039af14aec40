"""Saves beside the training: the values of the moment they were begun, and nothing half done when they fail."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from trainer.checkpoint import folder, part, verify

pytestmark = pytest.mark.usefixtures("torch")


@pytest.fixture
def wish(torch, tmp_path):
    """A save of live pieces: wish(step) gives it."""
    from tests.trainer.checkpoint import made
    from trainer.checkpoint.publish import Rules
    from trainer.checkpoint.saver import Wish

    live = {ranks: [made.pieces(1.0, rank, ranks) for rank in range(ranks)] for ranks in (1, 2)}

    def make(step: int, rank: int = 0, ranks: int = 1, keep: int = 3, root: Path = tmp_path) -> Wish:
        staging = root / f".staging-{folder.name_of(step)}-1"
        return Wish(step, staging, live[ranks][rank], b"{}", made.FACTS, ("latest",), Rules(keep))

    return make


def saver(rank: int = 0, ranks: int = 1, asynchronous: bool = True):
    from trainer.checkpoint.saver import Saver

    return Saver(rank, ranks, asynchronous)


def test_what_changes_after_settling_is_not_in_the_checkpoint(torch, wish, tmp_path):
    from trainer.checkpoint.tensors import Checkpoint

    own, first = saver(), wish(1)
    before = {(piece.kind, piece.name): piece.tensor.clone() for piece in first.pieces}
    own.begin(first)
    own.settle()
    for piece in first.pieces:
        piece.tensor.zero_()
    own.wait()
    outcome = own.outcome()
    assert outcome.error is None and outcome.published.fault is None and own.outcome() is None
    stored = Checkpoint(tmp_path / "step-00000001")
    for (kind, name), values in before.items():
        assert torch.equal(stored.read(kind, name), values)


def test_the_memory_of_the_copies_is_taken_once(torch, wish):
    own = saver()
    kept = set()
    for step in (1, 2, 3):
        own.begin(wish(step))
        own.wait()
        assert own.outcome().error is None
        kept.add(frozenset(room.data_ptr() for room in own._snapshot._kept.values()))
    assert len(kept) == 1


def test_a_synchronous_save_is_there_when_begin_returns(wish, tmp_path):
    own = saver(asynchronous=False)
    own.begin(wish(1))
    assert not own.busy and verify.fault(tmp_path / "step-00000001") is None
    assert own.outcome().stall > 0


def test_ranks_meet_through_their_notes(torch, wish, tmp_path):
    from trainer.checkpoint.tensors import Checkpoint

    late, first = saver(1, 2), saver(0, 2)
    first.begin(wish(1, 0, 2))
    assert not (tmp_path / "step-00000001").exists(), "half of the ranks is no checkpoint"
    late.begin(wish(1, 1, 2))
    first.wait()
    late.wait()
    assert first.outcome().error is None and verify.fault(tmp_path / "step-00000001") is None
    assert Checkpoint(tmp_path / "step-00000001").whole("weight", "tokens.weight").shape == (7, 5)
    assert not list((tmp_path / "step-00000001").glob(".part*"))


def test_one_rank_that_fails_fails_the_save_and_leaves_nothing(wish, tmp_path, monkeypatch):
    late, first = saver(1, 2), saver(0, 2)
    write = part.write

    def full(staging, rank, pieces, random):
        if rank == 1:
            raise OSError(28, "No space left on device")
        return write(staging, rank, pieces, random)

    monkeypatch.setattr(part, "write", full)
    first.begin(wish(1, 0, 2))
    late.begin(wish(1, 1, 2))
    first.wait()
    late.wait()
    assert first.outcome().error == "rank 1: No space left on device"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("place", ["copy", "write"])
def test_a_rank_that_fails_before_anything_is_there_is_not_waited_for(wish, tmp_path, monkeypatch, place):
    """Rank 0 would wait an hour for its note, and the loop with it at the next save."""
    late, first = saver(1, 2), saver(0, 2)

    def full(*_):
        raise MemoryError

    with monkeypatch.context() as patched:
        patched.setattr(*((late._snapshot, "take") if place == "copy" else (part, "write")), full)
        late.begin(wish(1, 1, 2))
        late.settle()
        late.wait()
    first.begin(wish(1, 0, 2))
    waiting = threading.Thread(target=first.wait, daemon=True)
    waiting.start()
    waiting.join(30)
    assert not waiting.is_alive()
    assert first.outcome().error == "rank 1: MemoryError"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("place", ["weights-00000-00.safetensors", "random-00000.json", "manifest.json"])
def test_a_disk_that_fails_at_any_file_leaves_the_old_checkpoint(wish, tmp_path, monkeypatch, place):
    own = saver()
    own.begin(wish(1))
    own.wait()
    assert own.outcome().error is None
    opened = Path.open

    def full(self, *arguments, **options):
        if place in self.name and ".staging" in str(self):
            return opened(Path("/dev/full"), "wb", buffering=0)
        return opened(self, *arguments, **options)

    monkeypatch.setattr(Path, "open", full)
    own.begin(wish(2))
    own.wait()
    assert own.outcome().error == "No space left on device"
    monkeypatch.undo()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["latest", "step-00000001"]
    assert verify.fault(tmp_path / "step-00000001") is None
    own.begin(wish(2))
    own.wait()
    assert own.outcome().error is None, "and the next one works"


def test_without_a_thread_the_save_is_made_all_the_same(wish, tmp_path, monkeypatch):
    """A container's limit of processes counts threads too."""
    own = saver()
    start = threading.Thread.start

    def refused(self):
        if self.name.startswith("save-"):
            raise RuntimeError("can't start new thread")
        start(self)

    monkeypatch.setattr(threading.Thread, "start", refused)
    own.begin(wish(1))
    own.settle()
    own.close()
    assert own.outcome().error is None and verify.fault(tmp_path / "step-00000001") is None


def test_closing_does_not_wait_for_ranks_that_never_come(wish, tmp_path):
    own = saver(0, 2)
    own.begin(wish(1, 0, 2))
    closing = threading.Thread(target=own.close)
    closing.start()
    closing.join(30)
    assert not closing.is_alive()
    assert "no word from part-00001" in own.outcome().error
    assert list(tmp_path.iterdir()) == []
