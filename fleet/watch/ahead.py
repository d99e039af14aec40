"""Whether the disk of a machine that stands still holds what the run's remote lacks: that a remote is set does not
mean that everything is there.

The rule: the disk is worth keeping when the newest checkpoint that was heard of on it (its newest step, when no save
was heard of) is more than SPARE of training past the newest whole one at the remote. Less is lost by every machine that
is taken away between two checkpoints, and made again for the price of half an hour.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from fleet.ledger.ledger import Ledger
from fleet.ledger.values import Known, Run
from fleet.life.signs import Signs
from fleet.providers.values import State
from fleet.watch.memory import recalled
from fleet.watch.watched import Watched
from profiles.errors import WrongInput

SPARE = timedelta(minutes=30)
STANDING = (State.STOPPED, State.INTERRUPTED)


@dataclass(frozen=True, slots=True)
class Ahead:
    """training: how much of it only that disk may hold; step: the newest that was heard of there, None: nobody heard
    anything, so all the time that it was rented counts."""

    training: timedelta
    step: int | None

    @property
    def much(self) -> bool:
        """Whether it is worth keeping."""
        return self.training > SPARE

    def words(self, newest: int | None) -> str:
        """'step 480 is on its disk, step 100 is the newest at the remote'."""
        there = "nothing is at the remote" if newest is None else f"step {newest} is the newest at the remote"
        if self.step is None:
            return f"what is on its disk is not known, and {there}"
        return f"step {self.step} was made there, and {there}"


def stands(found: Watched) -> bool:
    """Whether its machine stands still with its disk; what is on it, nobody can hear."""
    known = found.known
    return known is not None and known.ended is None and not found.gone and known.instance.state in STANDING


def ahead(ledger: Ledger, found: Watched, newest: int | None, now: datetime) -> Ahead:
    """How far the disk of the run's machine is ahead of `newest`, the newest whole step at the remote (None: none)."""
    known = found.known
    if known is None:
        return Ahead(timedelta(0), None)
    signs, rented = recalled(ledger, known, found.heard.signs), now - known.first
    step = made(signs)
    if step is None:
        silent = found.heard.read is None and (newest is None or newest <= begun(ledger, known))
        return Ahead(rented if silent else timedelta(0), None)
    steps = step - (newest or 0)
    if steps <= 0:
        return Ahead(timedelta(0), step)
    if newest is None and signs.saved is not None:  # a remote that never took anything: a login that is wrong
        return Ahead(rented, step)
    return Ahead(rented if signs.seconds is None else min(rented, timedelta(seconds=steps * signs.seconds)), step)


def made(signs: Signs) -> int | None:
    """The newest step that may be on its disk."""
    return signs.saved if signs.saved is not None else signs.step


def begun(ledger: Ledger, known: Known) -> int:
    """The step of the newest checkpoint that was known when the machine was rented; 0 without one."""
    return max((one.step for one in ledger.checkpoints(known.run) if one.at <= known.first), default=0)


def unsent_end(ledger: Ledger, found: Watched, saved: Callable[[Run], int | None]) -> str:
    """Why a machine is kept that stands still after the training has ended, before its last checkpoint was sent; ""
    when it need not be. saved: the newest whole step at a run's remote. Raises OutsideFailed while that is not told."""
    signs, known = found.heard.signs, found.known
    if known is None or not found.run.remote or signs.exited == 0 or not stands(found):
        return ""
    last = made(recalled(ledger, known, signs))
    try:
        newest = saved(found.run)
    except WrongInput as failed:
        return unreadable(found, failed)
    if last is None or (newest is not None and newest >= last):
        return ""
    return f"{Ahead(timedelta(0), last).words(newest)}: it is kept; {again(found)}"


def only_there(ledger: Ledger, found: Watched, saved: Callable[[Run], int | None], now: datetime) -> str:
    """Why a lost machine is kept: its disk holds what the remote lacks, by the rule above; "" when it need not be.
    Raises OutsideFailed while the remote does not answer: nothing is ended meanwhile."""
    if not found.run.remote or not stands(found):
        return ""
    try:
        newest = saved(found.run)
    except WrongInput as failed:
        return unreadable(found, failed)
    there = ahead(ledger, found, newest, now)
    return f"{there.words(newest)}: it is kept; {again(found)}" if there.much else ""


def unreadable(found: Watched, failed: WrongInput) -> str:
    """Of a remote that cannot be read from here, nothing is concluded."""
    return f"what is at its remote cannot be read here ({failed.what}): it is kept; {again(found)}"


def again(found: Watched) -> str:
    """What the user can do about a machine that stands still with what only its disk holds."""
    name = found.run.name
    return f"./inv resume {name} --same starts it, so that it can send; --force ends it and goes on without that"
