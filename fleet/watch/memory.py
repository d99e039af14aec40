"""What was heard of a machine, in the ledger: when it stands still nobody may be able to read its output any more, and
whoever decides about its disk may be another process than the one that heard it."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import datetime, timedelta

from fleet.ledger.ledger import Ledger
from fleet.ledger.values import Event, Known
from fleet.life.signs import Signs
from fleet.life.told import HEARD, words

OFTEN = timedelta(hours=1)
WORDS = re.compile(r"(?:step (\d+))?(?:, )?(?:saved step (\d+))?(?:, )?(?:(\d+(?:\.\d+)?) s a step)?")


def keep(ledger: Ledger, known: Known, signs: Signs, now: datetime, often: timedelta = OFTEN) -> None:
    """Keeps what is new, unless that was done less than `often` ago."""
    if signs.step is None and signs.saved is None:
        return
    last = newest(ledger, known)
    if last is None or (last.words != words(signs) and now - last.at >= often):
        ledger.tell(known.run, HEARD, words(signs), known.id)


def recalled(ledger: Ledger, known: Known, signs: Signs) -> Signs:
    """`signs` with what was kept of the machine, where that is more. A save that was kept says nothing of a later step:
    another may have followed it."""
    last = newest(ledger, known)
    found = WORDS.fullmatch(last.words) if last else None
    if found is None:
        return signs
    step, saved, seconds = found[1] and int(found[1]), found[2] and int(found[2]), found[3] and float(found[3])
    later = signs.step is not None and signs.saved is None and signs.step > (step or 0)
    return replace(
        signs,
        step=more(signs.step, step or None),
        saved=None if later else more(signs.saved, saved or None),
        seconds=signs.seconds or seconds or None,
    )


def more(one: int | None, other: int | None) -> int | None:
    """The larger of what is known."""
    return max((value for value in (one, other) if value is not None), default=None)


def newest(ledger: Ledger, known: Known) -> Event | None:
    """The last event of that kind, of that machine."""
    told = [event for event in ledger.events(known.run) if event.kind == HEARD and event.instance == known.id]
    return told[-1] if told else None
