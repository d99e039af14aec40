"""What happened: events in their order, checkpoints that were verified, machines to keep away from."""

from __future__ import annotations

import sqlite3
from datetime import datetime, timedelta

from fleet.ledger.book import Book, maybe, stamp, when
from fleet.ledger.values import BadMachine, Checkpoint, Event


class Story(Book):
    """Events, checkpoints, bad machines."""

    def tell(self, run: str, kind: str, words: str, instance: str = "") -> Event:
        """Keeps an event. run "": of no run; kind: a word for programs; words: a line, never a secret."""
        with self._writing() as db:
            return self._note(db, run, kind, words, instance)

    def _note(self, db: sqlite3.Connection, run: str, kind: str, words: str, instance: str = "") -> Event:
        event = Event(self.now(), run, kind, words, instance)
        db.execute(
            "INSERT INTO events (at, run, instance, kind, words) VALUES (?, ?, ?, ?, ?)",
            (stamp(event.at), run, instance, kind, words),
        )
        return event

    def events(self, run: str = "", last: int = 0) -> list[Event]:
        """What happened, oldest first. run "": everything; last: only so many of the newest."""
        rows = self._all(
            "SELECT * FROM events WHERE ? IN ('', run) ORDER BY id DESC LIMIT ?", run, last if last > 0 else -1
        )
        return [Event(when(row["at"]), row["run"], row["kind"], row["words"], row["instance"]) for row in rows][::-1]

    def newest_moment(self) -> datetime | None:
        """When something was last written down, by the clock of then; None: nothing yet."""
        rows = self._all(
            "SELECT max(at) AS at FROM (SELECT at FROM events UNION ALL SELECT at FROM snapshots"
            " UNION ALL SELECT made FROM runs UNION ALL SELECT seen FROM instances)"
        )
        return maybe(rows[0]["at"])

    def retell(self, run: str, kind: str, words: str, instance: str, young: timedelta) -> Event:
        """Keeps an event in the place of the run's newest one, when that is of the same kind and machine and not older
        than `young`; else beside it. For what changes often: only the newest of it is of use."""
        with self._writing() as db:
            row = db.execute("SELECT * FROM events WHERE run = ? ORDER BY id DESC LIMIT 1", (run,)).fetchone()
            if row is None or (row["kind"], row["instance"]) != (kind, instance):
                return self._note(db, run, kind, words, instance)
            event = Event(self.now(), run, kind, words, instance)
            if not timedelta(0) <= event.at - when(row["at"]) <= young:
                return self._note(db, run, kind, words, instance)
            db.execute("UPDATE events SET at = ?, words = ? WHERE id = ?", (stamp(event.at), words, row["id"]))
            return event

    def checkpoint(self, run: str, step: int, url: str, digest: str, at: datetime | None = None) -> None:
        """Keeps that this checkpoint was verified; again is nothing new."""
        time = stamp(at or self.now())
        with self._writing() as db:
            db.execute("INSERT OR IGNORE INTO checkpoints VALUES (?, ?, ?, ?, ?)", (run, step, url, digest, time))

    def checkpoints(self, run: str) -> list[Checkpoint]:
        """Those of a run, the newest step first."""
        rows = self._all("SELECT * FROM checkpoints WHERE run = ? ORDER BY step DESC, at DESC", run)
        return [Checkpoint(row["run"], row["step"], row["url"], row["digest"], when(row["at"])) for row in rows]

    def bad_machine(self, provider: str, machine: str, why: str, until: datetime) -> None:
        """Leaves a machine out until then; "" is no machine."""
        if machine:
            now = stamp(self.now())
            with self._writing() as db:
                db.execute(
                    "INSERT OR REPLACE INTO bad_machines VALUES (?, ?, ?, ?, ?)",
                    (provider, machine, why, now, stamp(until)),
                )

    def bad_machines(self, provider: str) -> list[BadMachine]:
        """Those to keep away from now."""
        rows = self._all(
            "SELECT * FROM bad_machines WHERE provider = ? AND until > ? ORDER BY at", provider, stamp(self.now())
        )
        return [BadMachine(row["provider"], row["machine"], row["why"], when(row["until"])) for row in rows]
