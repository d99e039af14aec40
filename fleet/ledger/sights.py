"""Machines as they were seen: every list that a provider gives is written down, and what it says about cost too."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from fleet.ledger import tags
from fleet.ledger.book import stamp, when
from fleet.ledger.costs import Costs
from fleet.ledger.rows import body_of, instance_of, known_of
from fleet.ledger.values import GONE, MAY_BILL, UNSETTLED, Known, Snapshot
from fleet.providers.values import Instance

# A list may be written down later than it was asked for, never so much later: beyond it, a clock was set back.
LATE = timedelta(minutes=15)
KNOWN = """SELECT i.*, s.usd_hour, s.assumed FROM instances i LEFT JOIN segments s ON s.id =
  (SELECT max(id) FROM segments WHERE provider = i.provider AND instance = i.id)"""


class Sights(Costs):
    """Machines of this ledger, and what each provider listed last."""

    def saw(self, provider: str, instances: Sequence[Instance], at: datetime, complete: bool) -> None:
        """Writes down what a provider listed. at: when it was asked; complete: every page of it.

        A machine is ours when its tag holds this ledger's id or it is known; all others are kept in the snapshot only.
        One that is missing from a complete list is counted as missed, and nothing more is concluded.
        """
        stamped = stamp(at)
        with self._writing() as db:
            for instance in instances:
                run = self._whose(db, instance)
                if run is not None:
                    self._record(db, instance, run, instance.tag, at)
            if not complete:
                return
            there = {instance.id for instance in instances}
            for row in db.execute(
                "SELECT id, first, run, missed FROM instances WHERE provider = ? AND ended IS NULL", (provider,)
            ).fetchall():
                if row["id"] not in there and not just_before(at, when(row["first"])):
                    db.execute(
                        "UPDATE instances SET missed = missed + 1, missed_since = coalesce(missed_since, ?)"
                        " WHERE provider = ? AND id = ?",
                        (stamped, provider, row["id"]),
                    )
                    if not row["missed"]:
                        self._note(db, row["run"], "missed", f"{provider} does not list {row['id']}", row["id"])
            body = json.dumps([body_of(instance) for instance in instances])
            db.execute("INSERT OR REPLACE INTO snapshots VALUES (?, ?, ?)", (provider, stamped, body))

    def _whose(self, db: sqlite3.Connection, instance: Instance) -> str | None:
        """The run of a machine that is ours, "" when it is ours and nobody knows whose; None: not ours."""
        known = db.execute(
            "SELECT run FROM instances WHERE provider = ? AND id = ?", (instance.provider, instance.id)
        ).fetchone()
        if known is not None:
            return str(known["run"])
        attempt = db.execute("SELECT * FROM attempts WHERE tag = ?", (instance.tag,)).fetchone()
        if attempt is not None:
            if attempt["state"] in UNSETTLED:
                db.execute(
                    "UPDATE attempts SET state = 'created', instance = ? WHERE tag = ?", (instance.id, instance.tag)
                )
                self._note(db, attempt["run"], "found", f"{instance.tag}: {instance.provider} {instance.id}")
            elif attempt["instance"] != instance.id:
                words = f"{instance.provider} {instance.id} bears {instance.tag}, which was {attempt['state']}"
                self._note(db, attempt["run"], "late", words, instance.id)
            return str(attempt["run"])
        tag = tags.read(instance.tag)
        if tag is None or tag.ledger != self.id:
            return None
        self._note(db, "", "stray", f"{instance.provider} {instance.id}: nothing is known of {instance.tag}", tag.run)
        return ""

    def _record(self, db: sqlite3.Connection, instance: Instance, run: str, tag: str, at: datetime) -> None:
        """Writes down one machine of ours and its price."""
        row = db.execute(
            "SELECT tag, ended, seen, body FROM instances WHERE provider = ? AND id = ?",
            (instance.provider, instance.id),
        ).fetchone()
        if row is not None and row["ended"] and just_before(at, when(row["ended"])):
            return  # the list is older than the proof that it has ended
        if row is not None:  # not every list repeats the label or the environment
            before = instance_of(json.loads(row["body"]))
            instance = replace(instance, tag=row["tag"] or tag, env=instance.env or before.env)
        elif instance.tag != tag:
            instance = replace(instance, tag=tag)
        values = (instance.tag, str(instance.state), json.dumps(body_of(instance)), stamp(at))
        key = (instance.provider, instance.id)
        if row is None:
            db.execute(
                "INSERT INTO instances (tag, state, body, seen, provider, id, first, run)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (*values, *key, stamp(at), run),
            )
        else:
            db.execute(
                "UPDATE instances SET tag = ?, state = ?, body = ?, seen = ?, missed = 0, missed_since = NULL,"
                " ended = NULL, why = '' WHERE provider = ? AND id = ?",
                (*values, *key),
            )
            if row["ended"]:
                self._note(db, run, "returned", f"{instance.provider} lists {instance.id} again", instance.id)
        self._accrue(db, instance, at)

    def adopt(self, instance: Instance, run: str) -> None:
        """Makes a machine the run's own, whatever its tag says; it is counted from its first sight at the latest."""
        now = self.now()
        with self._writing() as db:
            self._record(db, instance, run, instance.tag, now)
            db.execute(
                "UPDATE instances SET run = ?, ending = '', adopted = 1 WHERE provider = ? AND id = ?",
                (run, instance.provider, instance.id),
            )
            self._note(
                db, run, "adopted", f"{instance.provider} {instance.id} ({instance.tag or 'no tag'})", instance.id
            )

    def ending(self, provider: str, id: str, why: str) -> None:
        """Writes down that a machine has to end, before anything is sent: whoever comes next will see to it."""
        with self._writing() as db:
            row = db.execute(
                "SELECT run, ending FROM instances WHERE provider = ? AND id = ?", (provider, id)
            ).fetchone()
            if row is not None and not row["ending"]:
                db.execute("UPDATE instances SET ending = ? WHERE provider = ? AND id = ?", (why, provider, id))
                self._note(db, row["run"], "ending", why, id)

    def end(self, provider: str, id: str, why: str, at: datetime | None = None) -> None:
        """Writes down that a machine is proven gone: it is counted until `at` (None: now) and no longer."""
        time = at or self.now()
        with self._writing() as db:
            row = db.execute(
                "SELECT run, ended FROM instances WHERE provider = ? AND id = ?", (provider, id)
            ).fetchone()
            if row is None or row["ended"]:
                return
            self._last_stretch(db, provider, id, time)
            db.execute(
                "UPDATE instances SET ended = ?, why = ? WHERE provider = ? AND id = ?",
                (stamp(time), why, provider, id),
            )
            marks = ", ".join("?" * len(MAY_BILL))
            db.execute(
                f"UPDATE attempts SET state = ? WHERE provider = ? AND instance = ? AND state IN ({marks})",
                (GONE, provider, id, *MAY_BILL),
            )
            self._note(db, row["run"], "ended", why, id)

    def live(self, run: str = "") -> list[Known]:
        """Machines that are not proven gone, of one run or of all, oldest first."""
        return [known for known in self.known(run) if known.ended is None]

    def known(self, run: str = "") -> list[Known]:
        """All machines there ever were, of one run or of all, oldest first."""
        return [known_of(row) for row in self._all(f"{KNOWN} WHERE ? IN ('', i.run) ORDER BY i.rowid", run)]

    def instance(self, provider: str, id: str) -> Known | None:
        """One machine."""
        row = self._first(f"{KNOWN} WHERE i.provider = ? AND i.id = ?", provider, id)
        return known_of(row) if row else None

    def snapshot(self, provider: str) -> Snapshot | None:
        """The last complete list of a provider, so that ten who watch ask once."""
        row = self._first("SELECT * FROM snapshots WHERE provider = ?", provider)
        if row is None:
            return None
        return Snapshot(provider, when(row["at"]), tuple(instance_of(body) for body in json.loads(row["rows"])))


def just_before(at: datetime, mark: datetime) -> bool:
    """Whether `at` is older than `mark` by as much as a list that was written down late can be."""
    return timedelta(0) <= mark - at <= LATE
