"""The file under the ledger: every change is one transaction, on disk when it returns, or it did not happen."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fleet.clock import Clock
from fleet.ledger.lock import Locks
from fleet.ledger.schema import NAMES
from profiles.errors import OutsideFailed, StokerError

NOTHING_CREATED = "nothing was created; free space or mend the rights of its folder, then the same command again"


class Book:
    """An open ledger file. id: four letters in every tag; moved: a loud line when a damaged one had to be put aside."""

    def __init__(self, path: Path, connection: sqlite3.Connection, clock: Clock, moved: str = "") -> None:
        self.path, self.clock, self.moved = path, clock, moved
        self._connection = connection
        self._turn = threading.RLock()
        self._opened = path.stat()
        self.locks = Locks(path.parent / "fleet")
        self._wished: dict[str, int] = {}  # run -> the wish that is held here
        self.id = str(self._one("SELECT value FROM meta WHERE key = 'id'")["value"])

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: object) -> None:
        self.shut()

    def shut(self) -> None:
        """Closes the file and lets go of every lock."""
        self.locks.release_all()
        self._connection.close()

    def now(self) -> datetime:
        """This moment in UTC, by the clock that was passed in."""
        return self.clock.now().astimezone(UTC)

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction; on disk when it ends, undone when it raises. Raises OutsideFailed when it cannot be."""
        with self._turn:
            self._still_ours()
            try:
                self._connection.execute("BEGIN IMMEDIATE")
            except sqlite3.Error as failure:
                raise unwritable(self.path, failure) from failure
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException as failure:
                self._undo()
                if isinstance(failure, sqlite3.Error) and not isinstance(failure, sqlite3.IntegrityError):
                    raise unwritable(self.path, failure) from failure
                raise

    def _undo(self) -> None:
        try:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        except sqlite3.Error:  # a full disk may have rolled it back already
            pass

    def _still_ours(self) -> None:
        """Whether the file is still the one that was opened: a write into one that was moved aside would be lost."""
        try:
            there = self.path.stat()
        except OSError:
            there = None
        if there is None or (there.st_ino, there.st_dev) != (self._opened.st_ino, self._opened.st_dev):
            raise OutsideFailed(
                f"the ledger {self.path} was replaced while it was in use",
                "run `./inv reconcile`: it finds what was rented meanwhile",
            )

    def _all(self, sql: str, *values: object) -> list[sqlite3.Row]:
        with self._turn:
            try:
                return list(self._connection.execute(sql, values))
            except sqlite3.Error as failure:
                raise unreadable(self.path, failure) from failure

    def _first(self, sql: str, *values: object) -> sqlite3.Row | None:
        return next(iter(self._all(sql, *values)), None)

    def table(self, name: str) -> list[sqlite3.Row]:
        """All rows of a table of schema.NAMES, oldest first."""
        if name not in NAMES:
            raise ValueError(name)
        return self._all(f"SELECT * FROM {name} ORDER BY rowid")

    def _one(self, sql: str, *values: object) -> sqlite3.Row:
        found = self._first(sql, *values)
        if found is None:
            raise OutsideFailed(f"the ledger {self.path} lacks a row that it must have", "run `./inv reconcile`")
        return found


def unwritable(path: Path, failure: sqlite3.Error) -> StokerError:
    """What to tell when a change could not be kept."""
    return OutsideFailed(f"the ledger {path} cannot be written: {failure}", NOTHING_CREATED)


def unreadable(path: Path, failure: sqlite3.Error) -> StokerError:
    """What to tell when it cannot be read."""
    return OutsideFailed(
        f"the ledger {path} cannot be read: {failure}", "the same command again, then `./inv reconcile`"
    )


def stamp(at: datetime) -> str:
    """A time as the ledger keeps it."""
    return at.astimezone(UTC).isoformat(timespec="microseconds")


def when(text: str) -> datetime:
    """The time that `stamp` wrote."""
    return datetime.fromisoformat(text)


def maybe(text: str | None) -> datetime | None:
    """The same, or none."""
    return when(text) if text else None
