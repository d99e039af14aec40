"""Ending a machine: asked for until it is accepted, then looked at until it is proven gone (providers.md 0.2)."""

from __future__ import annotations

from collections.abc import Callable

from fleet.clock import Clock
from fleet.launch.look import again, sight
from fleet.launch.outcomes import StillThere
from fleet.launch.patience import USUAL, Patience, unsaid
from fleet.launch.stopwatch import Stopwatch
from fleet.ledger.ledger import Ledger
from fleet.providers.provider import Provider
from profiles.errors import OutsideFailed, WrongInput

FIRST_PAUSE, LAST_PAUSE = 2.0, 30.0


def end(
    ledger: Ledger,
    provider: Provider,
    id: str,
    why: str,
    clock: Clock,
    patience: Patience = USUAL,
    say: Callable[[str], None] = unsaid,
) -> None:
    """Ends a machine for good. It is in the ledger as `ending` before anything is sent, as ended only with the proof.

    The proof: the provider took the request, then `patience.gone_reads` clean complete lists in a row are without it,
    and asked for by its id there is none. One that is already gone passes the same way. Raises StillThere when there
    is no proof after `patience.ending` seconds; the next `reconcile` goes on. say: told before each pause.
    """
    ledger.ending(provider.name, id, why)
    watch, pause, clean, taken = Stopwatch(clock), FIRST_PAUSE, 0, False
    listed, trouble = was_listed(ledger, provider, id), "it is still listed"
    while True:
        try:
            if not taken:
                provider.terminate(id)
                taken = True
            if any(each.id == id for each in sight(ledger, provider)):
                taken, clean, trouble = False, 0, "it is still listed"  # a list that lags, or a request that was lost
                listed = True
            else:
                clean, trouble = clean + 1, "it is not listed, which has to be seen again"
            long_enough = listed or watch.passed() >= patience.appear
            if clean >= patience.gone_reads and long_enough and provider.instance(id) is None:
                break
        except (OutsideFailed, WrongInput) as failure:
            trouble = failure.what
        if watch.passed() >= patience.ending:
            ledger.tell(run_of(ledger, provider, id), "still-there", f"{provider.name}: {trouble}", id)
            raise StillThere(provider.name, id, trouble)
        say(f"{provider.name} {id} is not proven gone yet: {trouble}; {again(pause)}")
        watch.sleep(pause)
        pause = min(LAST_PAUSE, pause * 1.5)
    ledger.end(provider.name, id, why)


def was_listed(ledger: Ledger, provider: Provider, id: str) -> bool:
    """Whether any list ever had it: "there is none" says nothing of one that is too new to be listed."""
    known = ledger.instance(provider.name, id)
    return known is None or known.seen > known.first


def run_of(ledger: Ledger, provider: Provider, id: str) -> str:
    """Whose it is."""
    known = ledger.instance(provider.name, id)
    return known.run if known else ""
