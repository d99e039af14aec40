"""Whether a machine holds what nobody else has. Whoever is about to end one that is lost, stuck, failed or over asks
here first, whatever state its provider tells; what is not known counts as held."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from fleet.ledger.ledger import Ledger
from fleet.ledger.values import Run
from fleet.life.verdict import FINISHED, Life
from fleet.watch.ahead import Ahead, ahead, exists, stands
from fleet.watch.memory import recalled
from fleet.watch.watched import Watched
from profiles.errors import WrongInput

OVER = (Life.DONE, Life.LIMITED, Life.FAILED)
ASKED = (*OVER, Life.LOST, Life.STUCK, Life.PAUSED)  # of the others nothing is decided
ALONE = "its checkpoints are on the machine alone"


def holds(ledger: Ledger, found: Watched, saved: Callable[[Run], int | None], now: datetime) -> str:
    """What the run's machine may hold and nobody else has, in words; "" for nothing. saved: the newest whole step at a
    run's remote, None: there is none. Raises OutsideFailed while that is not told: nothing is ended meanwhile."""
    life, signs = found.verdict.life, found.heard.signs
    if not exists(found) or found.bare or life not in ASKED:
        return ""
    if not found.run.remote:
        there = ahead(ledger, found, None, now)
        return ALONE if there.step is not None or there.much or (stands(found) and not there.sure) else ""
    if signs.exited == 0:  # which says that everything was sent (templates/run/sending)
        return ""
    try:
        newest = saved(found.run)
    except WrongInput as failed:  # of a remote that cannot be read from here nothing is concluded
        return f"what is at its remote cannot be read here ({failed.what})"
    there = ahead(ledger, found, newest, now)
    if tuned(ledger, found, newest, there):
        return f"its fine-tuning may be on the machine alone: {there.words(newest)}"
    held = there.much
    if life in OVER and there.step is not None:  # no training follows that would make it again
        held = newest is None or there.step > newest
    return f"what it made may be on the machine alone: {there.words(newest)}" if held else ""


def tuned(ledger: Ledger, found: Watched, newest: int | None, there: Ahead) -> bool:
    """Whether fine-tuning has begun, which follows a base run (RUN_SFT): its steps are counted anew, and `newest` tells
    nothing of them."""
    known, env = found.known, (found.run.plan.get("container") or {}).get("env") or {}
    if known is None or env.get("RUN_SFT", "") in ("", "0") or there.sure:
        return False
    step = recalled(ledger, known, found.heard.signs).step
    return found.heard.signs.stop in FINISHED or (step is not None and newest is not None and step <= newest)


def again(found: Watched) -> str:
    """What the user can do about a machine that is kept."""
    name = found.run.name
    if stands(found):
        return f"./inv resume {name} --same starts it, so that it can send; --force ends it and goes on without that"
    return f"./inv logs {name} tells more; ./inv resume {name} --force ends it and goes on without that"
