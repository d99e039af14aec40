"""Machines that are kept for what they hold: told again and again, with what that costs, and never without an end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from fleet.ledger.values import Known, Run
from fleet.watch.disk import STANDING
from fleet.watch.holds import ASKED, again, holds
from fleet.watch.watched import Eyes, Watched, started

KEPT, AGAIN = "kept", "trains"  # events: a machine is kept; one that was trains again
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
ASK = timedelta(minutes=10)  # between two looks at the store, while nothing changes
# How long a machine is kept whose run has no limit that would end it: one that bills its GPUs, as its own keeper does
# (templates/run/keeper.py), and one that bills its disk.
RUNS, STANDS = timedelta(days=1), timedelta(days=7)


@dataclass(slots=True)
class Keeping:
    """One machine that is kept. state: of it when it was asked about; words: what was found; told: None: not yet."""

    state: str
    words: str
    asked: datetime
    told: datetime | None = None


@dataclass(slots=True)
class Kept:
    """saved: as in fleet/watch/holds.py; tell: takes a line."""

    eyes: Eyes
    saved: Callable[[Run], int | None]
    tell: Callable[[str], None]
    machines: dict[str, Keeping] = field(default_factory=dict)

    def has(self, found: Watched) -> bool:
        """Whether its machine was kept when it was last asked about."""
        return found.known is not None and found.known.id in self.machines

    def why(self, found: Watched) -> str:
        """Why the run's machine is kept, told when it is time to; "" when it need not be. Raises OutsideFailed while
        its store does not answer."""
        known, now = found.known, self.eyes.clock.now()
        if known is None:
            return ""
        state = f"{known.instance.state} {found.verdict.life}"
        last = self.machines.get(known.id)
        if last is None or last.state != state or now - last.asked >= ASK:
            words = holds(self.eyes.ledger, found, self.saved, now)
            if not words:
                self.machines.pop(known.id, None)
                return ""
            told = last.told if last is not None and last.state == state else None
            last = self.machines[known.id] = Keeping(state, words, now, told)
        since = self.since(known)
        if since is None:
            self.eyes.ledger.tell(found.run.name, KEPT, last.words, known.id)
            since = now
        words = f"{last.words}: it is kept; {again(found)}"
        if last.told is None or now - last.told >= (HOUR if now - since < DAY else DAY):
            last.told = now
            self.tell(f"{found.run.name}: {found.verdict.why}; {words}; {self.cost(found, since)}")
        return words

    def cost(self, found: Watched, since: datetime) -> str:
        """'12.40 USD so far, 0.11 USD/h now'."""
        spent, bound = found.spent, self.bound(found)
        now = "" if spent.usd_hour is None else f", {spent.usd_hour:.2f} USD/h now"
        end = "" if bound is None else f"; its run has no limit: it is ended on {since + bound:%Y-%m-%d %H:%M} UTC"
        return f"{spent.usd:.2f} USD so far{now}{end}"

    def bound(self, found: Watched) -> timedelta | None:
        """How long it is kept at most; None: its run's dollars or hours are a limit, or it costs nothing (local)."""
        limits, known = found.run.limits, found.known
        if known is None or not known.usd_hour or limits.usd is not None or limits.hours is not None:
            return None
        return STANDS if known.instance.state in STANDING else RUNS

    def too_long(self, found: Watched) -> str:
        """Why it is kept no longer, "" while it is."""
        if found.known is None or not self.has(found) or found.verdict.life not in ASKED:
            return ""
        since, bound = self.since(found.known), self.bound(found)
        if since is None or bound is None or self.eyes.clock.now() - since < bound:
            return ""
        return f"kept for {bound / HOUR:g} h for what only it may hold, and its run has no limit"

    def since(self, known: Known) -> datetime | None:
        """Since when it is kept, by whoever kept it; None: it is not."""
        at, begun = None, started(self.eyes.ledger, known)
        for event in self.eyes.ledger.events(known.run):
            if event.instance != known.id or event.at < begun or event.kind not in (KEPT, AGAIN):
                continue
            at = None if event.kind == AGAIN else at or event.at
        return at

    def trains(self, found: Watched) -> None:
        """It trains again: nothing of before counts."""
        known = found.known
        if known is not None and self.since(known) is not None:
            self.machines.pop(known.id, None)
            self.eyes.ledger.tell(found.run.name, AGAIN, "trains again", known.id)
