"""What machines cost: stretches of time at a price, read at each sight; never less than the truth for want of it.

A stretch between two sights is counted at the dearer of both prices. A price that is not told is the last known one;
before the first one is told it is the cap of the order, and it is corrected when the first one is. It is 0 only when a
machine that does not run is told to cost nothing, or when it was ordered for nothing (this machine).
"""

from __future__ import annotations

import sqlite3
from datetime import datetime, timedelta
from decimal import Decimal

from fleet.ledger.book import stamp, when
from fleet.ledger.money import over, price, usd
from fleet.ledger.runs import Runs
from fleet.providers.values import Instance, State

JITTER = timedelta(seconds=60)  # two who look at once may write in the other order; beyond it, a clock was set back
MOST_GAP = timedelta(days=366)  # between two sights; beyond it, a clock was wrong
BILLING = (State.PENDING, State.STARTING, State.RUNNING, State.UNKNOWN)
LAST = "SELECT * FROM segments WHERE provider = ? AND instance = ? ORDER BY id DESC LIMIT 1"


class Costs(Runs):
    """Money by machine and by run."""

    def _accrue(self, db: sqlite3.Connection, instance: Instance, at: datetime) -> None:
        """Counts up to `at`, and goes on at the price that is told now."""
        key = (instance.provider, instance.id)
        last = db.execute(LAST, key).fetchone()
        if last is None:
            last = self._first_stretch(db, instance, at)
        told = price(instance.usd_hour)
        if told == 0 and last["usd_hour"] > 0 and instance.state in BILLING:
            told = None  # a running machine that costs nothing: not read, not free (providers.md 0.2)
        self._told(db, instance, told)
        since, until = when(last["until"]), at
        if since - until > JITTER or until - since > MOST_GAP:
            self._note(db, self._run_of(db, key), "clock", f"a clock went from {since} to {until}", instance.id)
            self._stretch(db, key, until, until, last["usd_hour"] if told is None else told, told is None)
            return
        until = max(since, until)
        if told is not None and last["assumed"]:
            db.execute("UPDATE segments SET usd_hour = ?, assumed = 0 WHERE id = ?", (told, last["id"]))
            last = {**dict(last), "usd_hour": told}
        if told is None or told <= last["usd_hour"]:
            db.execute("UPDATE segments SET until = ? WHERE id = ?", (stamp(until), last["id"]))
            since = until
        if told is not None and told != last["usd_hour"]:
            self._stretch(db, key, since, until, told, False)

    def _first_stretch(self, db: sqlite3.Connection, instance: Instance, at: datetime) -> sqlite3.Row:
        """From the moment that the order left, at its cap until a price is told."""
        key = (instance.provider, instance.id)
        attempt = db.execute("SELECT * FROM attempts WHERE tag = ?", (instance.tag,)).fetchone()
        if attempt is not None:
            since = when(attempt["sent"] or attempt["made"])
            most = attempt["most_usd_hour"] if attempt["usd_hour"] else 0
        else:  # a lost ledger: the provider's own time, if it can be one
            since, most = instance.created or at, price(instance.usd_hour) or 0
        if not timedelta(0) <= at - since <= MOST_GAP:
            since = at
        self._stretch(db, key, since, at, most, True)
        row: sqlite3.Row = db.execute(LAST, key).fetchone()
        return row

    def _stretch(
        self, db: sqlite3.Connection, key: tuple[str, str], since: datetime, until: datetime, most: int, assumed: bool
    ) -> None:
        db.execute(
            "INSERT INTO segments (provider, instance, since, until, usd_hour, assumed) VALUES (?, ?, ?, ?, ?, ?)",
            (*key, stamp(since), stamp(until), most, int(assumed)),
        )

    def _told(self, db: sqlite3.Connection, instance: Instance, told: int | None) -> None:
        """Keeps whether the price was told, and says it once when it was not."""
        key = (instance.provider, instance.id)
        row = db.execute("SELECT run, unpriced FROM instances WHERE provider = ? AND id = ?", key).fetchone()
        if row is None or row["unpriced"] == int(told is None):
            return
        db.execute("UPDATE instances SET unpriced = ? WHERE provider = ? AND id = ?", (int(told is None), *key))
        last = db.execute(LAST, key).fetchone()
        if told is None and last["usd_hour"]:
            words = f"its price is not told; counted at {usd(last['usd_hour'])} USD/h"
            self._note(db, row["run"], "unpriced", words, instance.id)

    def _last_stretch(self, db: sqlite3.Connection, provider: str, id: str, at: datetime) -> None:
        """Counts up to the end."""
        last = db.execute(LAST, (provider, id)).fetchone()
        if last is not None and timedelta(0) < at - when(last["until"]) <= MOST_GAP:
            db.execute("UPDATE segments SET until = ? WHERE id = ?", (stamp(at), last["id"]))

    def _run_of(self, db: sqlite3.Connection, key: tuple[str, str]) -> str:
        row = db.execute("SELECT run FROM instances WHERE provider = ? AND id = ?", key).fetchone()
        return str(row["run"]) if row else ""

    @staticmethod
    def _over(usd_hour: int, since: datetime, until: datetime) -> int:
        """Micro-USD between two times; nothing when a clock was set back or is far off."""
        return over(usd_hour, until - since) if until - since <= MOST_GAP else 0

    def cost(self, run: str) -> Decimal:
        """USD of all machines a run ever had, failed attempts included; those that live are counted up to now."""
        return self.costs().get(run, Decimal(0))

    def costs(self) -> dict[str, Decimal]:
        """The same of every run."""
        return {run: usd(total) for run, total in self._sums("i.run").items()}

    def instance_cost(self, provider: str, id: str) -> Decimal:
        """USD of one machine, up to now while it lives."""
        return usd(self._sums("i.provider || ' ' || i.id").get(f"{provider} {id}", 0))

    def dearest(self, provider: str, id: str) -> Decimal | None:
        """USD per hour: the most that one machine was counted at, by what was told where anything was."""
        rows = self._all("SELECT * FROM segments WHERE provider = ? AND instance = ?", provider, id)
        told = [row["usd_hour"] for row in rows if not row["assumed"]] or [row["usd_hour"] for row in rows]
        return usd(max(told)) if told else None

    def _sums(self, by: str) -> dict[str, int]:
        """Micro-USD by that column."""
        now, totals = self.now(), dict[str, int]()
        live: dict[tuple[str, str], tuple[str, sqlite3.Row]] = {}
        for row in self._all(
            f"SELECT s.*, i.ended, {by} AS key"
            " FROM segments s JOIN instances i ON i.provider = s.provider AND i.id = s.instance ORDER BY s.id"
        ):
            spent = self._over(row["usd_hour"], when(row["since"]), when(row["until"]))
            totals[row["key"]] = totals.get(row["key"], 0) + spent
            if row["ended"] is None:
                live[row["provider"], row["instance"]] = (row["key"], row)
        for key, row in live.values():
            totals[key] += self._over(row["usd_hour"], when(row["until"]), now)
        return totals
