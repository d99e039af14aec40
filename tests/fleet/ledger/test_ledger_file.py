"""The file: newer, damaged, replaced, full, read-only, another program's; used by several at once."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from fleet.ledger.book import NOTHING_CREATED
from fleet.ledger.ledger import Ledger
from fleet.ledger.opening import FILE, open_ledger
from fleet.ledger.values import Run
from profiles.errors import OutsideFailed, Refused
from tests.fleet.ledger.conftest import HandClock
from tests.fleet.ledger.ledger_rows import machine, sent, wished

ROOT = Path(__file__).parents[3]


def test_what_is_in_it_is_there_again(tmp_path: Path, hand: HandClock):
    with open_ledger(tmp_path, hand) as first:
        tag = sent(first, wished(first))
        first.created(tag, machine(tag, words="pulls"))
    with open_ledger(tmp_path, hand) as again:
        assert again.id == first.id
        assert again.live()[0].instance == machine(tag, words="pulls")
        assert not again.moved
    assert (tmp_path / FILE).stat().st_mode & 0o077 == 0


def test_a_commit_is_on_the_disk_and_not_only_in_memory(ledger: Ledger):
    pragma = ledger._connection.execute
    assert pragma("PRAGMA journal_mode").fetchone()[0] == "wal"
    assert pragma("PRAGMA synchronous").fetchone()[0] == 2


def test_one_that_a_newer_version_wrote_is_refused_and_left_as_it_is(tmp_path: Path, hand: HandClock):
    open_ledger(tmp_path, hand).shut()
    with sqlite3.connect(tmp_path / FILE) as raw:
        raw.execute("PRAGMA user_version = 9")
    with pytest.raises(Refused, match="newer Stoker"):
        open_ledger(tmp_path, hand)
    assert [path.name for path in tmp_path.glob("*.bad-*")] == []


def test_another_programs_file_is_refused(tmp_path: Path, hand: HandClock):
    with sqlite3.connect(tmp_path / FILE) as raw:
        raw.execute("CREATE TABLE theirs (x)")
    with pytest.raises(Refused, match="another program"):
        open_ledger(tmp_path, hand)


@pytest.mark.parametrize("damage", ["text", "middle", "cut", "no-table", "no-id"])
def test_a_damaged_one_is_kept_aside_and_a_new_one_begun_under_the_same_letters(
    tmp_path: Path, hand: HandClock, damage: str
):
    with open_ledger(tmp_path, hand) as first:
        for number in range(200):
            first.add_run(Run(f"run-{number}", plan={"text": "x" * 200}))
    path = tmp_path / FILE
    content = path.read_bytes()
    if damage == "text":
        path.write_bytes(b"<html>" * 1000)
    elif damage == "middle":
        path.write_bytes(content[:4096] + os.urandom(len(content) - 8192) + content[-4096:])
    elif damage == "cut":
        path.write_bytes(content[: len(content) // 2])
    else:
        with sqlite3.connect(path) as raw:
            raw.execute("DROP TABLE attempts" if damage == "no-table" else "DELETE FROM meta WHERE key = 'id'")
    before = path.read_bytes()
    with open_ledger(tmp_path, hand) as again:
        assert again.id == first.id
        assert again.runs() == []
        assert "inv reconcile" in again.moved
    (kept,) = tmp_path.glob("*.bad-*[0-9]")
    assert kept.read_bytes() == before


def test_two_damages_in_one_second_keep_both(tmp_path: Path, hand: HandClock):
    for _ in range(2):
        (tmp_path / FILE).write_bytes(b"garbage" * 999)
        open_ledger(tmp_path, hand).shut()
    assert len(list(tmp_path.glob("*.bad-*"))) == 2


def test_a_process_whose_ledger_was_moved_away_writes_nothing_more(tmp_path: Path, hand: HandClock):
    with open_ledger(tmp_path, hand) as first:
        wish = wished(first)
        (tmp_path / FILE).rename(tmp_path / "elsewhere")
        with pytest.raises(OutsideFailed, match="replaced"):
            sent(first, wish)


def test_what_cannot_be_written_says_that_nothing_was_created(tmp_path: Path, hand: HandClock):
    with open_ledger(tmp_path, hand) as first:
        wish = wished(first)
        first._connection.execute("PRAGMA query_only = ON")  # as a read-only file system answers
        with pytest.raises(OutsideFailed, match="cannot be written") as failure:
            sent(first, wish)
        assert failure.value.next_step == NOTHING_CREATED


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path, hand: HandClock):
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutsideFailed, match="cannot be opened"):
        open_ledger(tmp_path / "file", hand)


def test_many_threads_and_ledgers_write_at_once_and_nothing_is_lost(tmp_path: Path, hand: HandClock):
    ledgers = [open_ledger(tmp_path, hand) for _ in range(3)]

    def write(ledger: Ledger, number: int) -> None:
        for each in range(10):
            ledger.tell("", "note", f"{number}-{each}")

    threads = [threading.Thread(target=write, args=(ledgers[n % 3], n)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({event.words for event in ledgers[0].events()}) == 60
    for ledger in ledgers:
        ledger.shut()


def test_ten_processes_begin_one_ledger(tmp_path: Path):
    code = (
        "import sys; from pathlib import Path; from fleet.clock import WallClock;"
        "from fleet.ledger.opening import open_ledger;"
        "l = open_ledger(Path(sys.argv[1]), WallClock()); l.tell('', 'hello', ''); print(l.id, l.moved)"
    )
    started = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    said = {process.communicate(timeout=60)[0] for process in started}
    assert len(said) == 1
    assert [process.returncode for process in started] == [0] * 4
