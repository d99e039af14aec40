"""Whether a run is to be brought back at all: it may live, be done, be at its limit, or have nothing to go on from."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal

from fleet.ledger.ledger import Ledger
from fleet.ledger.values import CREATED, Attempt, Run
from fleet.life.verdict import Life
from fleet.providers.values import State
from fleet.resume.saved import Saved, newest
from fleet.watch.spending import hours_left
from fleet.watch.watched import Watched
from profiles.errors import CheckFailed, OutsideFailed, Refused

LEAST = 0.05  # hours: three minutes train nothing
SHORT = timedelta(hours=1)
STANDING = (State.STOPPED, State.INTERRUPTED)


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


def source(ledger: Ledger, now: Watched, found: Sequence[Saved], from_start: bool, fresh: bool) -> Saved | None:
    """What the next machine goes on from; None: from the start, and that is known and wanted.

    found: at the run's remote; fresh: a run that never saved anything may begin anew. Raises Refused when that would
    throw something away or nobody asked for it, CheckFailed when what was saved is not there any more.
    """
    run, known = now.run, now.known
    there = newest(found)
    if there is not None or from_start:
        return there
    where = f"at {run.remote}" if run.remote else "elsewhere: it has no remote store"
    anew = f"./inv resume {run.name} --from-start"
    standing = known is not None and known.ended is None and not known.missed and known.instance.state in STANDING
    if known is not None and standing and not (run.remote and fresh and little(now)):
        raise Refused(
            f"nothing of `{run.name}` is saved {where}; the disk of {known.provider} {known.id} is all there is of it",
            f"start it in the provider's console and fetch it; {anew} ends it and begins anew",
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


def little(now: Watched) -> bool:
    """Whether a machine that stands still holds little: no checkpoint was heard of, or it was rented for a short time.
    A remote that never took anything may be a login that is wrong: then its disk holds a night's work."""
    if now.known is None or now.spent.billed < SHORT:
        return True
    return now.heard.read is not None and now.heard.signs.saved is None


def affordable(ledger: Ledger, run: Run, now: datetime, usd_hour: Decimal = Decimal(0)) -> float | None:
    """Hours that the next machine may be rented; None: no limit. Raises Refused when a limit is reached."""
    hours = hours_left(ledger, run, now, usd_hour)
    left = ledger.left(run.name)
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
