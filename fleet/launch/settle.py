"""What an earlier process left: a create that may or may not have made a machine is found out, before anything else."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from fleet.clock import Clock
from fleet.launch import rows
from fleet.launch.look import look
from fleet.launch.outcomes import Unsettled
from fleet.launch.patience import USUAL, Patience, unsaid
from fleet.launch.rows import Row
from fleet.launch.thin import best
from fleet.ledger.ledger import Ledger
from fleet.ledger.values import INTENDED, Attempt
from fleet.providers.provider import Provider
from profiles.errors import Refused


def settle(
    ledger: Ledger,
    providers: Mapping[str, Provider],
    clock: Clock,
    patience: Patience = USUAL,
    say: Callable[[str], None] = unsaid,
) -> list[Row]:
    """Settles every attempt that a dead process left, of all runs; nothing is ended and nothing is made.

    A run that a live process holds is left alone, and about a provider that is not asked or does not answer nothing is
    concluded: their rows are not `done`.
    """
    found = []
    for run in dict.fromkeys(attempt.run for attempt in ledger.unsettled()):
        try:
            with ledger.hold(run):
                found += [settle_one(ledger, providers, each, clock, patience, say) for each in ledger.unsettled(run)]
        except Refused as held:
            found.append(Row(rows.HELD, "", run=run, words=held.what, done=False))
    return found


def settle_one(
    ledger: Ledger,
    providers: Mapping[str, Provider],
    attempt: Attempt,
    clock: Clock,
    patience: Patience,
    say: Callable[[str], None] = unsaid,
) -> Row:
    """One attempt of a run whose lock is held by the caller."""
    who = (attempt.provider, attempt.instance, attempt.tag, attempt.run)
    if attempt.state == INTENDED:
        ledger.absent(attempt.tag, "it was never sent")
        return Row(rows.NOTHING, *who, "it was never sent")
    provider = providers.get(attempt.provider)
    if provider is None:
        return Row(rows.UNCLEAR, *who, f"{attempt.provider} was not asked", done=False)
    try:
        found = look(ledger, provider, attempt, clock, patience, say)
    except Unsettled as unsettled:
        return Row(rows.UNCLEAR, *who, unsettled.what, done=False)
    if not found:
        ledger.absent(attempt.tag, "not listed for long enough")
        return Row(rows.NOTHING, *who, "an order without an answer made no machine")
    kept = best(found)
    ledger.created(attempt.tag, kept)
    return Row(
        rows.FOUND, attempt.provider, kept.id, attempt.tag, attempt.run, "an order without an answer had made it"
    )
