"""Attempts: each create is on disk before its first byte leaves, and whatever came of it is written down after."""

from __future__ import annotations

import json
import sqlite3
from decimal import Decimal

from fleet.ledger.book import stamp
from fleet.ledger.money import micro, usd
from fleet.ledger.rows import attempt_of
from fleet.ledger.sights import Sights
from fleet.ledger.values import (
    ABSENT,
    CREATED,
    INTENDED,
    OPEN,
    REFUSED,
    SENT,
    UNCLEAR,
    UNSETTLED,
    Attempt,
    Wish,
)
from fleet.offers.offer import Offer
from fleet.providers.values import Instance
from profiles.errors import Refused


class Attempts(Sights):
    """What was asked of a provider, by the tag that it carries."""

    def intend(
        self,
        wish: Wish,
        tag: str,
        provider: str,
        offer: Offer,
        usd_hour: Decimal,
        most_usd_hour: Decimal,
        digest: str,
    ) -> Attempt:
        """Writes down that a create is about to be sent; on disk when it returns, and nothing is sent before.

        usd_hour: what it is expected to cost; most_usd_hour: the cap; digest: of the request without its secrets.
        Raises Refused when another attempt of the wish may bill, or the run was ended meanwhile; OutsideFailed when it
        cannot be kept.
        """
        now = stamp(self.now())
        row = (tag, wish.id, wish.run, provider, json.dumps(offer.to_json(), sort_keys=True))
        money = (micro(usd_hour), micro(most_usd_hour))
        try:
            with self._writing() as db:
                self._may_intend(db, wish)
                db.execute(
                    "INSERT INTO attempts (tag, wish, run, provider, offer, usd_hour, most_usd_hour, digest, state,"
                    " made) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    (*row, *money, digest, INTENDED, now),
                )
                self._note(db, wish.run, INTENDED, f"{tag}: {provider}, {offer.count} x {offer.gpu}, {usd_hour} USD/h")
        except sqlite3.IntegrityError:
            raise Refused(
                f"`{wish.run}`: an earlier create may still have made a machine", "run `./inv reconcile` first"
            ) from None
        return self._attempt(tag)

    def _may_intend(self, db: sqlite3.Connection, wish: Wish) -> None:
        """Raises Refused when nobody wants the machine any more."""
        row = db.execute("SELECT state, words FROM runs WHERE name = ?", (wish.run,)).fetchone()
        if row is None or row["state"] != OPEN:
            state = f"{row['state']} ({row['words']})" if row else "gone"
            raise Refused(f"`{wish.run}` is {state}: nothing more is rented for it", f"`./inv resume {wish.run}`")
        found = db.execute("SELECT state FROM wishes WHERE id = ?", (wish.id,)).fetchone()
        if found is None or found["state"] != OPEN:
            raise Refused(f"the wish of `{wish.run}` is closed", "run `./inv status`")

    def sent(self, tag: str) -> None:
        """The next thing that happens is the request. Raises OutsideFailed: then it must not be sent."""
        self._becomes(tag, SENT, (INTENDED,), sent=stamp(self.now()))

    def created(self, tag: str, instance: Instance) -> None:
        """It made this machine, which is counted from the moment that the request left."""
        now = self.now()
        with self._writing() as db:
            row = db.execute("SELECT * FROM attempts WHERE tag = ?", (tag,)).fetchone()
            if row["state"] in (*UNSETTLED, CREATED):
                db.execute("UPDATE attempts SET state = ?, instance = ? WHERE tag = ?", (CREATED, instance.id, tag))
                self._note(db, row["run"], CREATED, f"{tag}: {instance.provider} {instance.id}", instance.id)
            self._record(db, instance, row["run"], tag, now)

    def refused(self, tag: str, because: str, words: str) -> None:
        """Answered, and nothing was created."""
        self._becomes(tag, REFUSED, UNSETTLED, because=because, words=words)

    def unclear(self, tag: str, words: str) -> None:
        """Nobody knows whether it made one."""
        self._becomes(tag, UNCLEAR, UNSETTLED, words=words)

    def absent(self, tag: str, words: str) -> None:
        """Looked for long enough: it made none. Its tag stays watched for ever: every list is compared with it."""
        self._becomes(tag, ABSENT, UNSETTLED, words=words)

    def _becomes(self, tag: str, state: str, before: tuple[str, ...], **columns: str) -> None:
        with self._writing() as db:
            row = db.execute("SELECT run, state FROM attempts WHERE tag = ?", (tag,)).fetchone()
            if row is None or row["state"] not in before:
                return  # another process saw its machine meanwhile: what is known is not unlearned
            sets = "".join(f", {name} = ?" for name in columns)
            db.execute(f"UPDATE attempts SET state = ?{sets} WHERE tag = ?", (state, *columns.values(), tag))
            said = " ".join(filter(None, (columns.get("because", ""), columns.get("words", ""))))
            self._note(db, row["run"], state, f"{tag}: {said}" if said else tag)

    def attempt(self, tag: str) -> Attempt | None:
        """The attempt with this tag."""
        row = self._first("SELECT * FROM attempts WHERE tag = ?", tag)
        return attempt_of(row) if row else None

    def _attempt(self, tag: str) -> Attempt:
        return attempt_of(self._one("SELECT * FROM attempts WHERE tag = ?", tag))

    def attempts(self, run: str = "", wish: int = 0) -> list[Attempt]:
        """All of them, of one run or wish or of all, oldest first."""
        rows = self._all("SELECT * FROM attempts WHERE ? IN ('', run) AND ? IN (0, wish) ORDER BY rowid", run, wish)
        return [attempt_of(row) for row in rows]

    def unsettled(self, run: str = "") -> list[Attempt]:
        """Those of which nobody knows yet what came of them."""
        marks = ", ".join("?" * len(UNSETTLED))
        query = f"SELECT * FROM attempts WHERE ? IN ('', run) AND state IN ({marks}) ORDER BY rowid"
        return [attempt_of(row) for row in self._all(query, run, *UNSETTLED)]

    def reserved(self, run: str) -> Decimal:
        """USD that attempts may be costing of which nobody knows: their cap, since they were sent."""
        total = 0
        for attempt in self.unsettled(run):
            if attempt.sent is not None:
                total += self._over(micro(attempt.most_usd_hour), attempt.sent, self.now())
        return usd(total)

    def left(self, run: str) -> Decimal | None:
        """USD that the run may still spend: its budget less cost and what may be spent unknown; None: no budget."""
        budget = self.run(run).limits.usd
        return None if budget is None else budget - self.cost(run) - self.reserved(run)
