"""Wishes: one machine for a run, one at a time, held by one living process."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from fleet.ledger.book import stamp
from fleet.ledger.rows import wish_of
from fleet.ledger.runs import Runs
from fleet.ledger.values import MET, OPEN, UNMET, Wish
from profiles.errors import Refused


class Wishes(Runs):
    """Wishes, and the lock of each run: flock on .stoker/fleet/RUN.lock, and a unique index behind it."""

    def wish(self, run: str, why: str) -> Wish:
        """The right to rent one machine for `run`, held until `close`, the end of the ledger's block, or death.

        One that a dead process left open is taken over, with its attempts. why: who asks, a line.
        Raises WrongInput for an unknown run, Refused when it is not open or another live process holds it.
        """
        found = self.run(run)
        if found.state != OPEN:
            raise Refused(f"`{run}` is {found.state}", f"`./inv resume {run}` opens it again")
        if run in self._wished:
            raise Refused(f"`{run}` is being launched by this very process", "wait for it to end")
        self.locks.take(run)
        try:
            wish = self._taken_over(run, why) or self._begun(run, why)
        except BaseException:
            self.locks.release(run)
            raise
        self._wished[run] = wish.id
        return wish

    def _taken_over(self, run: str, why: str) -> Wish | None:
        wish = self.open_wish(run)
        if wish is not None:
            self.tell(run, "taken-over", f"a wish of {wish.made:%Y-%m-%d %H:%M} was left open ({wish.why}): {why}")
        return wish

    def _begun(self, run: str, why: str) -> Wish:
        now = self.now()
        try:
            with self._writing() as db:
                id = db.execute(
                    "INSERT INTO wishes (run, why, made) VALUES (?, ?, ?)", (run, why, stamp(now))
                ).lastrowid
                self._note(db, run, "wish", why)
        except sqlite3.IntegrityError:  # the lock did not hold (a file system without locks): the index does
            raise Refused(f"`{run}` is being launched by another process", "wait for it to end") from None
        assert id is not None
        return Wish(id, run, why, now)

    def close(self, wish: Wish, outcome: str, met: bool) -> None:
        """Ends a wish and lets go of its run. outcome: a line; met: there is a machine."""
        with self._writing() as db:
            changed = db.execute(
                "UPDATE wishes SET state = ?, outcome = ?, closed = ? WHERE id = ? AND state = 'open'",
                (MET if met else UNMET, outcome, stamp(self.now()), wish.id),
            ).rowcount
            if changed:
                self._note(db, wish.run, MET if met else UNMET, outcome)
        self.let_go(wish)

    def let_go(self, wish: Wish) -> None:
        """Lets go of its run and leaves the wish open: the next process takes it over."""
        if self._wished.get(wish.run) == wish.id:
            del self._wished[wish.run]
            self.locks.release(wish.run)

    def open_wish(self, run: str) -> Wish | None:
        """The open wish of a run."""
        row = self._first("SELECT * FROM wishes WHERE run = ? AND state = 'open'", run)
        return wish_of(row) if row else None

    def wishes(self, run: str = "") -> list[Wish]:
        """All wishes, of one run or of all, oldest first."""
        return [wish_of(row) for row in self._all("SELECT * FROM wishes WHERE ? IN ('', run) ORDER BY id", run)]

    @contextmanager
    def hold(self, run: str) -> Iterator[None]:
        """Holds the run's lock for what must not meet a launch. Raises Refused when another process has it."""
        with self.locks.hold(run):
            yield

    def held_by(self, run: str) -> str:
        """Which other live process holds a run: "process 1234"; "" for none."""
        return self.locks.holder(run)
