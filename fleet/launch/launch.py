"""From a wish to one machine: what was left is settled, then one offer after the other is intended, sent once, and
either ready in time or ended."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal

from fleet.clock import Clock
from fleet.launch.arrive import Ready
from fleet.launch.candidate import Candidate
from fleet.launch.launching import Launching
from fleet.launch.patience import Patience
from fleet.ledger.ledger import Ledger
from fleet.ledger.values import CREATED, MAY_BILL, UNSETTLED, Wish
from fleet.providers.provider import Provider
from fleet.providers.values import Instance
from profiles.errors import StokerError


def launch(
    ledger: Ledger,
    wish: Wish,
    candidates: Sequence[Candidate],
    most_usd_hour: Decimal,
    clock: Clock,
    progress: Callable[[str], None],
    patience: Patience,
    ready: Ready,
    providers: Mapping[str, Provider] | None = None,
) -> Instance:
    """One machine that works for the wish's run; it closes the wish. Never two, never one that nobody knows.

    candidates: offers, best first; most_usd_hour: of one machine, read back from it; progress: takes lines; ready:
    "" when the machine answers as it should, else what is missing (raise Unfit: it never will); providers: those that
    an earlier attempt of this wish may have gone to, when no candidate is theirs.

    Raises NoMachine (what was tried; the wish is closed), Refused (the run was ended, its budget is spent, it has a
    machine), WrongInput (no machine would do), Unsettled and StillThere (the wish stays open: the same command or
    `reconcile` goes on), OutsideFailed (the ledger cannot be written: nothing was sent). Interrupted at any moment,
    what was rented stays in the ledger, and the wish open for the next process.
    """
    known = {candidate.provider.name: candidate.provider for candidate in candidates}
    work = Launching(
        ledger, wish, candidates, most_usd_hour, clock, progress, patience, ready, known | {**(providers or {})}
    )
    try:
        instance = work.go()
    except StokerError as failure:
        closed(ledger, wish, failure.what)
        raise
    except BaseException:
        interrupted(ledger, wish, progress)
        raise
    ledger.close(wish, f"{instance.provider} {instance.id}", met=True)
    return instance


def closed(ledger: Ledger, wish: Wish, why: str) -> None:
    """Closes a wish that came to nothing; leaves it open while one of its attempts may bill."""
    if any(attempt.state in MAY_BILL for attempt in ledger.attempts(wish=wish.id)):
        ledger.let_go(wish)
    else:
        ledger.close(wish, why, met=False)


def interrupted(ledger: Ledger, wish: Wish, progress: Callable[[str], None]) -> None:
    """Says what stays behind; it is in the ledger already, and the wish stays open for the next process."""
    ledger.let_go(wish)
    for attempt in ledger.attempts(wish=wish.id):
        if attempt.state == CREATED:
            progress(f"{attempt.provider} {attempt.instance} stays rented; `./inv terminate {wish.run}` ends it")
        elif attempt.state in UNSETTLED and attempt.sent:
            progress(f"{attempt.provider} may have made a machine ({attempt.tag}); `./inv reconcile` finds out")
