"""Looking: what a provider lists goes into the ledger, and a create without an answer is looked for until it is found
or has been absent for long enough."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from fleet.clock import Clock
from fleet.launch.outcomes import Unsettled
from fleet.launch.patience import USUAL, Patience, unsaid
from fleet.launch.stopwatch import Stopwatch
from fleet.ledger.ledger import Ledger
from fleet.ledger.values import Attempt
from fleet.providers.provider import Provider
from fleet.providers.values import Instance
from profiles.errors import OutsideFailed, WrongInput

SKEW = timedelta(minutes=15)  # between a provider's clock and ours


def sight(ledger: Ledger, provider: Provider, young: float = 0.0) -> tuple[Instance, ...]:
    """All machines of the account, written down. young: seconds that a list may be old, so that ten who watch ask once.

    Raises what the provider raises: an incomplete list is none.
    """
    at = ledger.now()
    if young > 0:
        kept = ledger.snapshot(provider.name)
        if kept is not None and timedelta(0) <= at - kept.at <= timedelta(seconds=young):
            return kept.instances
    instances = tuple(provider.instances())
    ledger.saw(provider.name, instances, at, complete=True)
    return instances


def look(
    ledger: Ledger,
    provider: Provider,
    attempt: Attempt,
    clock: Clock,
    patience: Patience = USUAL,
    say: Callable[[str], None] = unsaid,
) -> list[Instance]:
    """The machines that an attempt made, most often one or none.

    None only after `patience.reads` clean complete lists over `patience.look` seconds: lists lag behind creates
    (providers.md 0.1). Raises Unsettled when the provider does not answer for so long, or when a machine without any
    tag came up since the request left: then nobody knows, and nothing more may be made. say: told before each pause.
    """
    watch, clean, since, trouble = Stopwatch(clock), 0, 0.0, ""
    while True:
        try:
            there = sight(ledger, provider)
        except (OutsideFailed, WrongInput) as failure:
            trouble = failure.what
        else:
            found = [
                each for each in there if each.tag == attempt.tag or (attempt.instance and each.id == attempt.instance)
            ]
            if found:
                return found
            since = since if clean else watch.passed()
            clean += 1
            if clean >= patience.reads and watch.passed() - since >= patience.look:
                return nothing(ledger, attempt, there)
        if watch.passed() >= patience.undecided:
            raise Unsettled(
                f"{attempt.provider} does not tell whether it made a machine for `{attempt.run}` ({attempt.tag})"
                + (f": {trouble}" if trouble else ""),
                "nothing more is rented for it; run `./inv reconcile` when it answers again",
            )
        seen = trouble if not clean else f"not listed for {watch.passed() - since:.0f} of {patience.look:.0f} s"
        say(f"{attempt.run}: an order at {attempt.provider} had no answer: {seen}; {again(patience.look_every)}")
        watch.sleep(patience.look_every)


def again(seconds: float) -> str:
    """That there is a pause, before it."""
    return f"looking again in {seconds:.0f} s"


def nothing(ledger: Ledger, attempt: Attempt, there: tuple[Instance, ...]) -> list[Instance]:
    """None; raises Unsettled when one of the machines without a tag could be it."""
    for stranger in there:
        young = stranger.created is None or attempt.sent is None or stranger.created >= attempt.sent - SKEW
        if not stranger.tag and young and ledger.instance(stranger.provider, stranger.id) is None:
            raise Unsettled(
                f"{stranger.provider} lists {stranger.id} without a name; an order of `{attempt.run}` had no answer",
                f"if it is yours for something else, end or name it; else `./inv reconcile --adopt {stranger.id}`",
            )
    return []
