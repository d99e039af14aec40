"""Whether a run lives, by somebody who has just come: nothing is remembered but what the ledger keeps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta

from fleet.clock import Clock
from fleet.launch.outcomes import Unsettled
from fleet.launch.patience import USUAL, Patience
from fleet.launch.settle import settle
from fleet.ledger.ledger import Ledger
from fleet.ledger.values import Run
from fleet.life import verdict
from fleet.life.heard import Heard
from fleet.providers.provider import Provider
from fleet.watch.watched import Eyes, Watched, look

AGAIN = 20.0  # seconds between two lists, when a machine is missing from one: it may lag
LOOKS = 7


def settled(
    ledger: Ledger, run: str, providers: Mapping[str, Provider], clock: Clock, patience: Patience = USUAL
) -> None:
    """Finds out about orders of the run that a dead process left. Raises Unsettled while nobody knows: nothing more may
    be rented for it then."""
    if not ledger.unsettled(run):
        return
    settle(ledger, providers, clock, patience)
    left = ledger.unsettled(run)
    if left:
        raise Unsettled(
            f"whether {left[0].provider} made a machine for `{run}` is not known ({left[0].tag})",
            "nothing more is rented for it; the same command again, when it answers",
        )


def judged(
    ledger: Ledger,
    run: Run,
    providers: Mapping[str, Provider],
    clock: Clock,
    say: Callable[[str], None],
    patience: verdict.Patience | None = None,
) -> Watched:
    """The run as it is now. A machine that one list lacks is looked for again before it counts as gone."""
    eyes = Eyes(ledger, providers, clock, timedelta(0), timedelta(0), patience or verdict.Patience())
    heard = Heard()
    for number in range(LOOKS):
        if number:
            clock.sleep(AGAIN)
        found = look(eyes, run, heard)
        known = found.known
        if known is None or known.ended is not None or not known.missed or found.gone:
            return found
        say(f"{known.provider} does not list {known.id}: looking again")
    return found
