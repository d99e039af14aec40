"""Whether a run is to be brought back at all: it may live, be done, be at its limit, or have nothing to go on from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from fleet.deploy import volume
from fleet.ledger.ledger import Ledger
from fleet.ledger.left import hours_left
from fleet.ledger.values import CREATED, Attempt, Limits, Run
from fleet.life.verdict import Life
from fleet.resume.saved import Saved, newest
from fleet.watch.ahead import ahead
from fleet.watch.ahead import stands as stands_still
from fleet.watch.holds import holds as held
from fleet.watch.limits import Bounds, breaches
from fleet.watch.watched import Watched
from profiles.errors import CheckFailed, OutsideFailed, Refused

LEAST = 0.05  # hours: three minutes train nothing


@dataclass(frozen=True, slots=True)
class Word:
    """What the user said. force: also when that throws something away; from_start: also when nothing is saved."""

    force: bool = False
    from_start: bool = False


def half_way(ledger: Ledger, now: Watched) -> Attempt | None:
    """The order of a launch that a dead process left half way, when its machine may still become ready."""
    wish = ledger.open_wish(now.run.name)
    known = now.known
    if wish is None or known is None or known.ended is not None or known.ending or now.verdict.resumable:
        return None
    made = [one for one in ledger.attempts(wish=wish.id) if one.state == CREATED]
    return next((one for one in made if one.instance == known.id and one.offer is not None), None)


def stands(ledger: Ledger, now: Watched, force: bool) -> str:
    """Why nothing has to be done, "" when the run is to be brought back.

    force: also when its machine lives, or ended by itself. Raises OutsideFailed when nobody can tell, Refused for what
    another machine would not mend.
    """
    run, life, why, known = now.run, now.verdict.life, now.verdict.why, now.known
    place = f"{known.provider} {known.id}" if known else "its machine"
    if now.verdict.resumable or life is Life.PAUSED:
        return ""
    if life is Life.UNREADABLE:
        raise OutsideFailed(
            f"{place}: {now.trouble or why}: nothing is concluded, and nothing rented beside it",
            f"./inv resume {run.name} again when it answers; ./inv logs {run.name}",
        )
    if force:
        return ""
    if life is Life.DONE:
        return f"is done: {why}; {place} ends by itself when everything is sent, ./inv watch {run.name} sees to it"
    if life in (Life.TRAINING, Life.BOOTING):
        state = f"trains on {place}: {why}" if life is Life.TRAINING else f"has {place}, which boots: {why}"
        return f"{state.rstrip(': ')}; nothing to bring back"
    if life is Life.LIMITED:
        raise Refused(
            f"`{run.name}` ended at {why}", f"./inv resume {run.name} --force, with a higher --budget, --hours"
        )
    if life is Life.FAILED:
        raise Refused(
            f"`{run.name}` failed by itself: {why}; another machine would most likely fail alike",
            f"./inv logs {run.name}; ./inv resume {run.name} --force rents one all the same",
        )
    raise Refused(f"`{run.name}` is {life} on {place}: {why}", "--force ends it and goes on from the newest checkpoint")


def source(ledger: Ledger, now: Watched, found: Sequence[Saved], word: Word, fresh: bool, at: datetime) -> Saved | None:
    """What the next machine goes on from; None: from the start, and that is known and wanted.

    found: at the run's remote; word: what the user said; fresh: a run that never saved anything may begin anew. None
    also for a run on a volume: what is there is gone on with (on_volume). Raises Refused when that would throw
    something away or nobody asked for it, CheckFailed when what was saved is not there any more.
    """
    run, known = now.run, now.known
    there = newest(found)
    kept = holds(ledger, now, found, at)
    if there is not None and (word.force or not kept):
        return there
    if there is None and word.from_start:
        return None
    if there is None and on_volume(run) and not kept:
        return None
    where = f"at {run.remote}" if run.remote else "elsewhere: it has no remote store"
    anew = f"./inv resume {run.name} --from-start"
    if known is not None and there is not None:
        told = ahead(ledger, now, there.step, at).words(there.step)
        raise Refused(
            f"{known.provider} {known.id} {'stands with what' if stands_still(now) else 'is there, and may hold what'}"
            f" only its disk holds of `{run.name}`: {told}",
            f"{starts(now)}; --force ends it and goes on from step {there.step}",
        )
    if known is not None and (kept or (stands_still(now) and not fresh)):
        raise Refused(
            f"nothing of `{run.name}` is saved {where}; the disk of {known.provider} {known.id} is all there is of it",
            f"{starts(now)}; {anew} ends it and begins anew",
        )
    if before := ledger.checkpoints(run.name):
        raise CheckFailed(
            f"step {before[0].step} of `{run.name}` was at {before[0].url}, and no whole checkpoint is there now",
            f"./inv checkpoints --remote {run.remote}; {anew} begins anew",
        )
    if run.remote and fresh:
        return None
    bills = ""
    if known is not None and ledger.live(run.name):
        bills = f"; {known.provider} {known.id} bills until ./inv terminate {run.name}"
    raise Refused(
        f"there is nothing to go on from: no whole checkpoint of `{run.name}` is {where}",
        f"{anew} trains it from the beginning{bills}",
    )


def holds(ledger: Ledger, now: Watched, found: Sequence[Saved], at: datetime) -> bool:
    """Whether the run's machine may hold what nobody else has (fleet/watch/holds.py)."""
    there = newest(found)
    return bool(held(ledger, now, lambda run: there.step if there else None, at))


def on_volume(run: Run) -> str:
    """The volume that the run goes on with on its next machine too (fleet/resume/places.py); "" for none."""
    kept = volume.restored(run.plan.get("volume"))
    return volume.named(kept) if kept is not None and not (kept.machine and run.remote) else ""


def wakes(ledger: Ledger, now: Watched, found: Sequence[Saved], at: datetime) -> bool:
    """Whether the run's machine may be started again instead of being ended: it stands, with more than the remote."""
    return stands_still(now) and (newest(found) is None or holds(ledger, now, found, at))


def starts(now: Watched) -> str:
    """The next step that keeps what is on the disk."""
    if not stands_still(now):
        return f"./inv logs {now.run.name} tells more"
    return f"./inv resume {now.run.name} --same starts that machine again, so that it can send"


def reached(now: Watched, asked: Limits, typed: Limits) -> None:
    """Raises Refused when a limit that was typed now is reached already. asked: all limits of the run with those;
    typed: before."""
    at_work = now.known is not None and now.verdict.life in (Life.TRAINING, Life.BOOTING)
    bounds = Bounds(
        asked.usd if asked.usd != typed.usd else None,
        asked.usd_hour if asked.usd_hour != typed.usd_hour and at_work else None,
        asked.hours if asked.hours != typed.hours else None,
    )
    for breach in breaches(now.spent, bounds, timedelta(0)):
        raise Refused(
            f"`{now.run.name}`: that limit is reached already: {breach.words}; nothing was changed",
            "a higher one; --force all the same; ./inv terminate ends the run",
        )


def affordable(ledger: Ledger, run: Run, now: datetime, usd_hour: Decimal = Decimal(0)) -> float | None:
    """Hours that the next machine may be rented; None: no limit. Raises Refused when a limit is reached."""
    hours = hours_left(ledger, run, now, usd_hour)
    left = None if run.limits.usd is None else run.limits.usd - ledger.cost(run.name) - ledger.reserved(run.name)
    if left is not None and left <= 0 and run.limits.usd:
        raise Refused(
            f"the budget of `{run.name}` is spent: {ledger.cost(run.name):.2f} of {run.limits.usd:.2f} USD",
            f"./inv resume {run.name} --budget USD, more than that",
        )
    if hours is not None and hours < LEAST:
        raise Refused(
            f"`{run.name}` may be rented for {hours * 60:.0f} minutes more, of {run.limits.hours or 0:g} h in all",
            f"./inv resume {run.name} with a higher --hours or --budget",
        )
    return hours
