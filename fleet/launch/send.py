"""One create: intended on disk, sent once, and what came of it written down before anything else happens."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from fleet.clock import Clock
from fleet.launch.candidate import Candidate, digest
from fleet.launch.deadline import remember
from fleet.launch.end import end
from fleet.launch.look import look
from fleet.launch.patience import Patience
from fleet.launch.thin import best
from fleet.ledger import tags
from fleet.ledger.ledger import Ledger
from fleet.ledger.values import Attempt, Wish
from fleet.providers.masked import hidden, told
from fleet.providers.outcomes import CreatedAnyway, NotCreated, Unclear
from fleet.providers.provider import Provider
from fleet.providers.values import Instance, Order, State, Template
from profiles.errors import OutsideFailed, StokerError


def send(
    ledger: Ledger,
    wish: Wish,
    candidate: Candidate,
    template: Template | None,
    most_usd_hour: Decimal,
    clock: Clock,
    patience: Patience,
) -> tuple[Attempt, list[Instance]]:
    """The attempt and the machines it made: none, one, or more that have to be thinned out.

    Raises NotCreated (nothing was made), CreatedAnyway (something was, and it has been ended), Unsettled (nobody
    knows), StillThere, and what the ledger raises before anything was sent.
    """
    provider = candidate.provider
    tag = tags.fresh(ledger.id, wish.run)
    wrong: StokerError | None = None
    order = Order(tag, candidate.offer, candidate.container, most_usd_hour, candidate.bid_usd_hour, template)
    # One process at a time buys at a provider: two buys of one slice were both accepted (providers.md 0.1).
    with ledger.locks.waiting(f"{provider.name}.create"):
        attempt = ledger.intend(
            wish, tag, provider.name, candidate.offer, candidate.usd_hour, most_usd_hour, digest(order)
        )
        remember(ledger, wish.run, tag, candidate.container)
        ledger.sent(tag)
        try:
            instance = ordered(provider, order)
        except NotCreated as refusal:
            ledger.refused(tag, str(refusal.because), refusal.what)
            raise
        except CreatedAnyway as made:
            ledger.created(tag, Instance(provider.name, made.id, tag, State.UNKNOWN))
            end(ledger, provider, made.id, f"refused, and made all the same: {made.what}", clock, patience)
            raise
        except Unclear as lost:
            ledger.unclear(tag, lost.what)
        except OutsideFailed as lost:  # anything else that a client may raise here says nothing about the machine
            ledger.unclear(tag, lost.what)
        except StokerError as refusal:  # most likely seen before anything was sent; that is looked at all the same
            ledger.unclear(tag, refusal.what)
            wrong = refusal
        else:
            ledger.created(tag, instance)
            return attempt, [instance]
    found = look(ledger, provider, attempt, clock, patience)
    if found:
        ledger.created(tag, best(found))
    else:
        ledger.absent(tag, "not listed for long enough")
        if wrong is not None:
            raise wrong
    return attempt, found


def ordered(provider: Provider, order: Order) -> Instance:
    """The one create. A provider may repeat the request in what it says, and that goes into the ledger and to the
    terminal: whatever the client has left of a secret in it is masked here. Raises what the client raises."""
    known = hidden(order.container)
    try:
        instance = provider.launch(order)
    except StokerError as failure:
        failure.what, failure.next_step = told(failure.what, known), told(failure.next_step, known)
        failure.args = (failure.what,)
        raise
    return replace(instance, words=told(instance.words, known), status=told(instance.status, known))
