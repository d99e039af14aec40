from __future__ import annotations

import os
import stat
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from images.registry.journal import Entry, Journal
from images.registry.record import Record
from profiles.errors import OutsideFailed

ENTRY = Entry("r", "a/b", "sha256:" + "0" * 64, 10, "https://x/upload?_state=secret", 4, 1.5)


def test_an_entry_is_kept_for_its_owner_only(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    with journal.hold("r", "a/b", ENTRY.digest) as slot:
        assert slot.load() is None
        slot.save(ENTRY)
        assert slot.load() == ENTRY
        assert stat.S_IMODE(slot.path.stat().st_mode) == 0o600
    assert journal.entries() == [ENTRY]
    with journal.hold("r", "other", ENTRY.digest) as slot:
        assert slot.load() is None, "each repository has its own upload"
    assert stat.S_IMODE((tmp_path / "journal").stat().st_mode) == 0o700


@given(st.binary(max_size=100))
def test_a_broken_entry_is_as_good_as_none(tmp_path_factory: pytest.TempPathFactory, raw: bytes) -> None:
    journal = Journal(tmp_path_factory.mktemp("journal"))
    with journal.hold("r", "a", ENTRY.digest) as slot:
        slot.path.write_bytes(raw)
        assert slot.load() is None


def test_a_second_holder_waits(tmp_path: Path) -> None:
    journal, order = Journal(tmp_path), []

    def second() -> None:
        with journal.hold("r", "a", ENTRY.digest, lambda: order.append("waits")):
            order.append("second")

    with journal.hold("r", "a", ENTRY.digest):
        thread = threading.Thread(target=second)
        thread.start()
        while not order:
            time.sleep(0.01)
        order.append("first")
    thread.join()
    assert order == ["waits", "first", "second"]
    assert list(tmp_path.glob("*.lock")) == []


def test_a_lock_excludes_everyone_else(tmp_path: Path) -> None:
    """Ten threads, a hundred turns: a counter that is only right when nobody overlaps."""
    journal, state = Journal(tmp_path), [0]
    import images.registry.journal as module

    quick, module.POLL = module.POLL, 0.0005

    def turns() -> None:
        for _ in range(10):
            with journal.hold("r", "a", ENTRY.digest):
                seen = state[0]
                os.sched_yield()
                state[0] = seen + 1

    try:
        threads = [threading.Thread(target=turns) for _ in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        module.POLL = quick
    assert state == [100]


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(OutsideFailed, match="cannot use the upload journal"),
        Journal(tmp_path / "file/x").hold("r", "a", ENTRY.digest),
    ):
        pass


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_said(tmp_path: Path) -> None:
    with Journal(tmp_path).hold("r", "a", ENTRY.digest) as slot:
        slot.path.with_suffix(".new").symlink_to("/dev/full")
        with pytest.raises(OutsideFailed, match="No space left"):
            slot.save(ENTRY)


# the record of what is where


def test_a_record_is_believed_for_a_while(tmp_path: Path) -> None:
    Record(tmp_path).add("r", "a", ["d1", "d2"])
    assert Record(tmp_path).known("r", "a") == {"d1", "d2"}
    assert Record(tmp_path).known("r", "b") == frozenset()
    assert Record(tmp_path, fresh_seconds=0).known("r", "a") == frozenset()
    Record(tmp_path).drop("r", "a")
    assert Record(tmp_path).known("r", "a") == frozenset()


def test_many_writers_lose_nothing(tmp_path: Path) -> None:
    threads = [threading.Thread(target=Record(tmp_path).add, args=("r", "a", [f"d{n}"])) for n in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(Record(tmp_path).known("r", "a")) == 20


@given(st.binary(max_size=60))
def test_a_broken_record_is_empty(tmp_path_factory: pytest.TempPathFactory, raw: bytes) -> None:
    record = Record(tmp_path_factory.mktemp("record"))
    record.path("r", "a").write_bytes(raw)
    assert record.known("r", "a") == frozenset()
    record.add("r", "a", ["d"])
    assert record.known("r", "a") == {"d"}


def test_a_record_that_cannot_be_written_costs_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    Record(tmp_path / "file/x").add("r", "a", ["d"])
