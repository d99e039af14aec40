"""Whether one clean list is enough: only where it and the ledger leave nothing to be ended, adopted or given up."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta

from fleet.launch.patience import Patience
from fleet.launch.thin import is_own
from fleet.ledger.ledger import Ledger
from fleet.ledger.opening import FILE
from fleet.ledger.values import ABSENT, OPEN, UNSETTLED, Known
from fleet.providers.values import Instance


def question(ledger: Ledger, provider: str, listed: Collection[Instance], patience: Patience) -> str:
    """What one clean list of `provider`, already in the ledger, leaves to be decided; "" when both agree.

    A list that agrees takes no action and makes nothing gone, so it may be believed alone. Whatever would be concluded
    from a difference needs more of them. After a ledger was lost there is nothing to hold a list against.
    """
    if anew(ledger):
        return "the ledger was begun anew"
    there = {each.id for each in listed}
    for known in ledger.live():
        if known.provider == provider and (why := doubt(ledger, known, there)):
            return why
    for attempt in ledger.attempts():
        if attempt.provider != provider:
            continue
        if attempt.state in UNSETTLED:
            return f"an order of {attempt.run} has no answer"
        if attempt.state == ABSENT and ledger.now() - attempt.made < timedelta(seconds=patience.undecided):
            return f"an order of {attempt.run} has only just counted as not made"
    return ""


def doubt(ledger: Ledger, known: Known, there: Collection[str]) -> str:
    """What is to be decided about one machine that the ledger takes for living."""
    if known.id not in there:
        return f"{known.id} is not listed"
    if known.ending:
        return f"{known.id} has to end"
    if not known.run:
        return f"{known.id} is ours, and of no run that is known"
    if ledger.run(known.run).state != OPEN:
        return f"{known.id} is of {known.run}, which is {ledger.run(known.run).state}"
    if not is_own(ledger, known):
        return f"{known.id} is not known to be the machine of {known.run}"
    return f"{known.run} has more than one machine" if len(ledger.live(known.run)) > 1 else ""


def anew(ledger: Ledger) -> bool:
    """Whether a damaged ledger was put aside, and this one knows no run yet."""
    return bool(ledger.moved) or (not ledger.runs() and any(ledger.path.parent.glob(f"{FILE}.bad-*")))
