"""The offers of now, from what is kept where that is young enough, so that planning again is instant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path

from fleet.offers import cache
from fleet.offers.ask import DEADLINE, Answer, ask
from fleet.offers.offer import ON_DEMAND, Found, Offer, Question
from fleet.wire.keys import Key

MAX_AGE = timedelta(minutes=10)


def current(
    folder: Path,
    providers: Sequence[str],
    keys: Mapping[str, Key],
    question: Question,
    now: datetime,
    max_age: timedelta = MAX_AGE,
    offline: bool = False,
    deadline: float = DEADLINE,
) -> Answer:
    """`ask`, but answers younger than `max_age` in `folder` (.stoker) are taken from there, and older ones when a
    provider does not answer or `offline` forbids to ask; the answer's notes say so."""
    kept = cache.read(folder)
    fit = {name: kept[name] for name in providers if name in kept and kept[name].question.covers(question)}
    fresh = {name for name, each in fit.items() if young(each, now, max_age)}
    missing = [name for name in providers if name not in fresh]
    new = Answer() if offline or not missing else ask(missing, keys, question, now, deadline)
    answered = dict(new.seen or {})
    notes, failures = [], dict(new.failures or {})
    old = [name for name in providers if name in fit and name not in answered]
    for name in old:
        why = "" if name in fresh else " and not asked again, offline" if offline else " and could not be asked again"
        notes.append(f"{name}: prices are {ago(fit[name].seen, now)} old{why}")
    for name in missing if offline else ():
        if name not in fit:
            failures[name] = f"{name}: offline, and no prices are kept; plan online once, or give --price"
    if answered:
        new_rows = {name: cache.Kept(now, question, part(new, name)) for name in answered}
        unkept = cache.write(folder, {**kept, **new_rows})
        notes += [unkept] if unkept else []
    matching = [offer for name in old for offer in fit[name].found.offers if matches(offer, question)]
    return Answer(
        (*matching, *new.offers),
        failures,
        (*(row for name in old for row in fit[name].found.skipped), *new.skipped),
        {**{name: fit[name].seen for name in old}, **answered},
        tuple(notes),
    )


def young(kept: cache.Kept, now: datetime, max_age: timedelta) -> bool:
    """Whether prices may be used without asking again."""
    seconds = cache.age(kept.seen, now)
    return seconds is not None and seconds <= max_age.total_seconds()


def ago(seen: datetime, now: datetime) -> str:
    """'40 s', '12 min', '3 h', '2 days'; 'an unknown time' when the clock was set back."""
    seconds = cache.age(seen, now)
    if seconds is None:
        return "an unknown time"
    steps = ((86400 * 2, 86400, "days"), (3600 * 2, 3600, "h"), (120, 60, "min"))
    return next((f"{seconds / unit:.0f} {name}" for least, unit, name in steps if seconds >= least), f"{seconds:.0f} s")


def part(answer: Answer, provider: str) -> Found:
    """What one provider said."""
    return Found(
        [offer for offer in answer.offers if offer.provider == provider],
        [row for row in answer.skipped if row.provider == provider],
    )


def matches(offer: Offer, question: Question) -> bool:
    """Whether a kept offer answers a narrower question."""
    return (
        offer.gpu in question.wanted
        and offer.count in question.counts
        and (question.spot or offer.kind == ON_DEMAND)
        and (offer.reliability is None or offer.reliability >= question.min_reliability)
    )
