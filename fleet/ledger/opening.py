"""Opening the ledger: a new one, the one that is there, or a new one beside a damaged one that is never deleted."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fleet.clock import Clock, SimulatedClock
from fleet.ledger.book import stamp, unwritable
from fleet.ledger.ledger import Ledger
from fleet.ledger.schema import NAMES, OURS, TABLES, VERSION
from fleet.ledger.tags import FORM, letters
from profiles.errors import OutsideFailed, Refused

FILE = "fleet.sqlite"
PATIENCE = 30.0  # seconds that one process waits for another one's write
DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


class Damaged(Exception):
    """The file is no ledger that can be trusted."""


def open_ledger(folder: Path, clock: Clock) -> Ledger:
    """The ledger in `folder` (.stoker), begun when there is none.

    A damaged one is moved aside to fleet.sqlite.bad-TIME, never deleted, and a new one begun under the same id, so that
    `reconcile` knows its machines by their tags; `Ledger.moved` then says so loudly. Raises Refused for one that a
    newer version wrote, another program's file or a rehearsal that is over, OutsideFailed when it cannot be read or
    written.
    """
    path = folder / FILE
    try:
        (folder / "fleet").mkdir(parents=True, exist_ok=True)
        with alone(folder / "fleet" / "opening"):  # a run may be called so too: its lock ends in .lock
            moved = ""
            try:
                connection = opened(path, clock)
            except Damaged as damage:
                moved = aside(path, clock, str(damage))
                connection = opened(path, clock)
            ledger = Ledger(path, connection, clock, moved)
            if isinstance(clock, SimulatedClock):
                refuse_begun_anew(ledger)
            return ledger
    except OSError as failure:
        raise OutsideFailed(
            f"the ledger {path} cannot be opened: {failure.strerror or failure}",
            "nothing was created; free space or mend the rights of its folder, then the same command again",
        ) from None


def refuse_begun_anew(ledger: Ledger) -> None:
    """Raises Refused, the file closed, when the simulators' time is before what was written down: they were started
    anew, and number their machines from the beginning, so that this ledger would take new machines for its old ones.

    Of the wall's clock nothing is concluded: one that was set back must not keep anybody from ending what is rented.
    """
    now, last = ledger.now(), ledger.newest_moment()
    if last is None or last <= now:
        return
    folder = ledger.path.parent
    ledger.shut()
    raise Refused(
        f"the simulators' clock shows {now:%Y-%m-%d %H:%M:%S}, and the last line of this rehearsal's ledger is of "
        f"{last:%Y-%m-%d %H:%M:%S}: they were started anew, and number their machines anew",
        f"delete {folder}, the old rehearsal, then the same command again",
    )


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """One process at a time begins, checks or moves the file."""
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
    finally:
        os.close(file)


def opened(path: Path, clock: Clock) -> sqlite3.Connection:
    """A connection to a whole ledger of this version. Raises Damaged, Refused, OutsideFailed."""
    if not path.exists():  # money and names of runs are nobody else's
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    connection = sqlite3.connect(path, timeout=PATIENCE, isolation_level=None, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    try:
        prepared(connection, path, clock)
    except sqlite3.Error as failure:
        connection.close()
        if (getattr(failure, "sqlite_errorcode", 0) or 0) & 0xFF in DAMAGED:
            raise Damaged(str(failure)) from failure
        raise unwritable(path, failure) from failure
    except BaseException:
        connection.close()
        raise
    return connection


def prepared(connection: sqlite3.Connection, path: Path, clock: Clock) -> None:
    """Checks what is there, and begins a new one in an empty file."""
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    owner = connection.execute("PRAGMA application_id").fetchone()[0]
    tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if tables and owner != OURS:
        raise Refused(f"{path} belongs to another program", "move it away, then the same command again")
    if version > VERSION:
        raise Refused(
            f"the ledger {path} was written by a newer Stoker (version {version}, this one knows {VERSION})",
            "use the newer Stoker; nothing was changed",
        )
    if tables:
        faults = [row[0] for row in connection.execute("PRAGMA quick_check(1)") if row[0] != "ok"]
        lacking = sorted({*NAMES, "snapshots"} - tables)
        if faults or lacking or not connection.execute("SELECT 1 FROM meta WHERE key = 'id'").fetchone():
            raise Damaged(faults[0] if faults else f"no {', '.join(lacking) or 'id'} in it")
    # FULL: a commit in WAL is on the disk when it returns, not only in the system's memory.
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
        connection.execute(f"PRAGMA {pragma}")
    if not tables:
        begin(connection, path, clock)


def begin(connection: sqlite3.Connection, path: Path, clock: Clock) -> None:
    """Writes the tables, all or none."""
    id = kept_id(path.parent / "fleet" / "id")
    connection.executescript(
        f"BEGIN IMMEDIATE; PRAGMA application_id = {OURS}; PRAGMA user_version = {VERSION}; {TABLES}"
        f"INSERT INTO meta VALUES ('id', '{id}'), ('made', '{stamp(clock.now())}'); COMMIT;"
    )
    file = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(file)  # that it is there has to survive a power cut too
    finally:
        os.close(file)


def kept_id(path: Path) -> str:
    """Four letters that stand in every tag, kept beside the ledger: a new one after damage knows the old machines."""
    try:
        found = path.read_text(encoding="ascii").strip()
        if FORM.fullmatch(f"stk-{found}-run-12345678"):
            return found
    except (FileNotFoundError, UnicodeDecodeError):
        pass
    id = letters(4)
    fresh = path.with_suffix(".new")
    fresh.write_text(id + "\n", encoding="ascii")
    fresh.replace(path)
    return id


def aside(path: Path, clock: Clock, damage: str) -> str:
    """Moves the damaged file and what belongs to it; what to tell."""
    time = clock.now().strftime("%Y%m%dT%H%M%S")
    to = path.with_name(f"{path.name}.bad-{time}")
    number = 1
    while to.exists():
        number += 1
        to = path.with_name(f"{path.name}.bad-{time}-{number}")
    for ending in ("-wal", "-shm", ""):
        part = path.with_name(path.name + ending)
        if part.exists():
            part.replace(to.with_name(to.name + ending))
    return (
        f"the ledger was damaged ({damage}); it is kept as {to.name} and a new one was begun: "
        "run `./inv reconcile` now, it finds the machines that are still rented"
    )
