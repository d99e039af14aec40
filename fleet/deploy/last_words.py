"""What became of a machine that is not there any more: what its run said last, kept in the ledger, and what helps."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from fleet.ledger.values import Event, Known, Run
from fleet.life.signs import Signs
from fleet.life.told import HEARD, STARTED, words
from fleet.life.verdict import FINISHED, LIMITED

if TYPE_CHECKING:
    from fleet.ledger.ledger import Ledger

OVER = "over"  # the event of a run that said that it has ended
HOUR = timedelta(hours=1)
STEP, SAVED = re.compile(r"^step (\d+)"), re.compile(r"\bsaved step (\d+)")
PROGRESS = (HEARD, "training")  # those of one that goes on: fleet/watch/memory.py, fleet/deploy/deploy.py
FINISH, LIMIT, BADLY = "finished", "at its limit", "ended"
OUTSIDE = 75  # the exit code of a run that was stopped from outside, and saved
NEARLY = 0.95  # of its hours: who ended a machine by itself did so about then
RECONCILE = "./inv reconcile"


@dataclass(frozen=True, slots=True)
class Fate:
    """state: a word or two for the table; words: why; next_step: a command, "" when there is nothing to do."""

    state: str
    words: str
    next_step: str = ""


def ending(signs: Signs) -> str:
    """How a run has ended, by its own words; "" while it goes on."""
    if signs.exited not in (None, 0, OUTSIDE):
        return f"{BADLY} with {signs.exited}" + (f" after `{signs.stop}`" if signs.stop else "")
    if signs.exited == 0 or signs.stop in FINISHED:
        return f"{FINISH}: {signs.stop or 'the run ended with 0'}"
    if signs.stop in LIMITED:
        return f"{LIMIT}: {signs.stop}"
    if signs.stop or signs.exited == OUTSIDE:
        return f"{BADLY}: {signs.stop or 'stopped from outside'}"
    return ""


def keep(ledger: Ledger, one: Known, signs: Signs) -> None:
    """Writes down that a run said that it has ended, once: its machine may be gone before anybody asks again."""
    said = ending(signs)
    if not said:
        return
    again = last(ledger.events(one.run), one.id, (STARTED,))
    if again is not None and (signs.told is None or signs.told < again.at):
        return  # it said so before it was started again
    said += f", step {signs.step}" if signs.step is not None else ""
    before = end_of(ledger, one)
    if before is None or before.words != said:
        ledger.tell(one.run, OVER, said, one.id)


def remember(ledger: Ledger, one: Known, signs: Signs) -> None:
    """Writes down how far a run is, in the words that fleet/watch/memory.py reads, once in an hour and until then anew:
    if its machine is gone the next time, this is what is left of it."""
    before = last(ledger.events(one.run), one.id, (HEARD,))
    step, saved = (count(which, before.words) if before else -1 for which in (STEP, SAVED))
    if signs.step is None or (signs.step <= step and (signs.saved is None or signs.saved <= saved)):
        return
    if saved >= 0 and signs.saved is None:  # what was saved stays told; of the later step it says nothing
        ledger.tell(one.run, HEARD, words(signs), one.id)
    else:
        ledger.retell(one.run, HEARD, words(signs), one.id, HOUR)


def count(which: re.Pattern[str], words: str) -> int:
    """The number in an event's words, -1 without one."""
    found = which.search(words)
    return int(found[1]) if found else -1


def last(events: Sequence[Event], id: str, kinds: Sequence[str]) -> Event | None:
    """The last event of a machine of those `kinds`."""
    return next((each for each in reversed(events) if each.kind in kinds and each.instance == id), None)


def end_of(ledger: Ledger, one: Known) -> Event | None:
    """The last time that its run was heard to end, if it was not started again after."""
    found = last(ledger.events(one.run), one.id, (OVER, STARTED))
    return found if found is not None and found.kind == OVER else None


def unlisted(ledger: Ledger, one: Known, run: Run, now: datetime) -> Fate:
    """Of a machine that the newest list of its provider lacks, which is no proof yet."""
    heard = end_of(ledger, one)
    if heard is not None:
        return Fate(state(heard), f"not listed; it said: {said(heard)}", RECONCILE)
    until = one.missed_since or now
    if spent_hours(ledger, run, until):
        return Fate("not listed", f"its {run.limits.hours:g} h were over when it was missed", RECONCILE)
    went_on = last(ledger.events(run.name), one.id, PROGRESS)
    heard_of = f"last heard of at {went_on.words}, {went_on.at:%m-%d %H:%M}" if went_on else ""
    return Fate("not listed", heard_of or f"nobody knows why; last seen {one.seen:%m-%d %H:%M}", RECONCILE)


def without_machine(ledger: Ledger, run: Run) -> Fate:
    """Of an open run that has none."""
    holder = ledger.held_by(run.name)
    if holder:
        return Fate("no machine", f"{holder} is renting for it")
    known = ledger.known(run.name)
    if ledger.unsettled(run.name):
        return Fate("no machine", "an order of it has no answer yet", RECONCILE)
    if not known:
        return Fate("no machine", run.words or "it never had one", f"./inv terminate {run.name}")
    before = known[-1]
    heard = end_of(ledger, before)
    if heard is None:
        over = spent_hours(ledger, run, before.ended or before.seen)
        more = f"./inv resume {run.name}" + (" --hours MORE" if over else "")
        return Fate("no machine", f"its last one: {before.why}", more)
    step = {
        FINISH: f"./inv watch {run.name}" if run.remote else f"./inv terminate {run.name}",
        LIMIT: f"./inv resume {run.name} --hours MORE",
    }
    return Fate(state(heard), f"it said: {said(heard)}", step.get(state(heard), f"./inv resume {run.name}"))


def state(heard: Event) -> str:
    """FINISH, LIMIT or BADLY."""
    return next((word for word in (FINISH, LIMIT) if heard.words.startswith(word)), BADLY)


def said(heard: Event) -> str:
    """Its words without what `state` tells."""
    return heard.words.removeprefix(f"{state(heard)}: ")


def spent_hours(ledger: Ledger, run: Run, until: datetime) -> bool:
    """Whether the hours of all its machines together were about over then."""
    if run.limits.hours is None:
        return False
    spans = [(one.ended or max(until, one.first)) - one.first for one in ledger.known(run.name)]
    return sum(span.total_seconds() for span in spans) >= NEARLY * 3600 * run.limits.hours
