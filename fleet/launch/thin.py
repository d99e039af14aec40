"""One machine per wish: second ones of a tag, and late ones of old tags, are ended."""

from __future__ import annotations

from collections.abc import Sequence

from fleet.clock import Clock
from fleet.launch.end import end
from fleet.launch.patience import Patience
from fleet.ledger.ledger import Ledger
from fleet.ledger.values import CREATED, Known
from fleet.providers.provider import Provider
from fleet.providers.values import Instance, State

BEST = (State.RUNNING, State.STARTING, State.PENDING, State.UNKNOWN, State.STOPPED, State.INTERRUPTED, State.FAILED)


def best(found: Sequence[Instance]) -> Instance:
    """The one to keep: the furthest, then the oldest id."""
    return min(found, key=lambda each: (BEST.index(each.state), len(each.id), each.id))


def others(ledger: Ledger, run: str, keep: Instance | None) -> list[Known]:
    """Every live machine of a run but the kept one; None: all of them."""
    kept = (keep.provider, keep.id) if keep else ("", "")
    return [known for known in ledger.live(run) if (known.provider, known.id) != kept]


def is_own(ledger: Ledger, known: Known) -> bool:
    """Whether a machine is one that its run is known to have: made by an attempt, or adopted. Others came too late."""
    attempt = ledger.attempt(known.tag)
    made = attempt is not None and attempt.state == CREATED and attempt.instance == known.id
    return made or known.adopted


def thin(
    ledger: Ledger, provider: Provider, run: str, keep: Instance | None, clock: Clock, patience: Patience
) -> list[Known]:
    """Ends every other live machine of the run at this provider; those that it was. Raises StillThere."""
    ended = [known for known in others(ledger, run, keep) if known.provider == provider.name]
    why = f"a second machine of `{run}` beside {keep.id}" if keep else f"a machine of `{run}` that came too late"
    for known in ended:
        end(ledger, provider, known.id, why, clock, patience)
    return ended
