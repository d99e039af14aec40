"""How far what a machine holds is ahead of the run's remote: that one is set does not mean that everything is there.

The rule: a disk is worth keeping when the newest checkpoint that may be on it is more than SPARE of training past the
newest whole one at the remote. Less is lost by every machine that is taken away between two checkpoints, and made again
for the price of half an hour. What nobody heard is unknown, and counts as all the time that the machine was rented.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from fleet.ledger.ledger import Ledger
from fleet.ledger.values import Known
from fleet.life.signs import Signs
from fleet.life.verdict import Life
from fleet.watch.disk import STANDING as STANDING
from fleet.watch.memory import recalled
from fleet.watch.watched import Watched, started

SPARE = timedelta(minutes=30)


@dataclass(frozen=True, slots=True)
class Ahead:
    """training: how much of it only that disk may hold; step: the newest that may be there, None: nobody heard of one.
    sure: None means that there is none."""

    training: timedelta
    step: int | None
    sure: bool = False

    @property
    def much(self) -> bool:
        """Whether it is worth keeping."""
        return self.training > SPARE

    def words(self, newest: int | None) -> str:
        """'step 480 was made there, and step 100 is the newest at the remote'."""
        there = "nothing is at the remote" if newest is None else f"step {newest} is the newest at the remote"
        if self.step is None:
            return f"{'it made no step' if self.sure else 'what is on its disk is not known'}, and {there}"
        return f"step {self.step} was made there, and {there}"


def exists(found: Watched) -> bool:
    """Whether there is a machine, as far as anybody knows."""
    return found.known is not None and found.known.ended is None and not found.gone


def stands(found: Watched) -> bool:
    """Whether its machine stands still with its disk; what is on it, nobody can hear."""
    known = found.known
    return known is not None and exists(found) and known.instance.state in STANDING and not found.bare


def ahead(ledger: Ledger, found: Watched, newest: int | None, now: datetime) -> Ahead:
    """How far the disk of the run's machine is ahead of `newest`, the newest whole step at the remote (None: none)."""
    known = found.known
    if known is None:
        return Ahead(timedelta(0), None, True)
    signs, rented = recalled(ledger, known, found.heard.signs), now - (known.instance.created or known.first)
    rented = max(rented, now - known.first)
    step = made(signs)
    if step is None:
        none = stepless(ledger, found, newest)
        return Ahead(timedelta(0) if none else rented, None, none)
    steps = step - (newest or 0)
    if steps <= 0:
        return Ahead(timedelta(0), step)
    if newest is None and signs.saved is not None:  # a remote that never took anything: a login that is wrong
        return Ahead(rented, step)
    return Ahead(rented if signs.seconds is None else min(rented, timedelta(seconds=steps * signs.seconds)), step)


def made(signs: Signs) -> int | None:
    """The step of the newest checkpoint that may be on its disk: the newest save, unless it is so old that another may
    have been missed, or the training told its end, which it saves."""
    step, saved = signs.step, signs.saved
    if step is None or saved is None or saved >= step:
        return step if saved is None else saved
    near = signs.seconds is not None and timedelta(seconds=(step - saved) * signs.seconds) < SPARE
    return saved if near and not signs.stop else step


def stepless(ledger: Ledger, found: Watched, newest: int | None) -> bool:
    """Whether a machine that nobody heard a step of surely made none: it never came up, or its output was read and
    tells of none, and the remote took nothing since. One that was started again, or adopted, may hold what it made
    before."""
    known, signs = found.known, found.heard.signs
    if known is None or known.adopted or started(ledger, known) > known.first:
        return False
    told = found.verdict.life is Life.STUCK or signs.exited is not None
    return told and (newest is None or newest <= begun(ledger, known))


def begun(ledger: Ledger, known: Known) -> int:
    """The step of the newest checkpoint that was known when the machine was rented; 0 without one."""
    return max((one.step for one in ledger.checkpoints(known.run) if one.at <= known.first), default=0)
