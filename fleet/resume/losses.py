"""The machines that a run has lost, as the ledger tells: what they were, and whether anything was saved on them."""

from __future__ import annotations

from datetime import datetime

from fleet.ledger.ledger import Ledger
from fleet.ledger.values import Event, Known
from fleet.offers.offer import ON_DEMAND, Offer
from fleet.resume.policy import Loss

LOST, ASKED = "lost", "asked"  # events


def losses(ledger: Ledger, run: str) -> list[Loss]:
    """All of them, oldest first."""
    machines = ledger.known(run)
    offers = {attempt.instance: attempt.offer for attempt in ledger.attempts(run) if attempt.instance}
    saved = [one.at for one in ledger.checkpoints(run)]
    return [
        loss_of(machines, offers.get(event.instance), saved, event)
        for event in ledger.events(run)
        if event.kind == LOST and event.instance
    ]


def recent(ledger: Ledger, run: str) -> list[Loss]:
    """Those since a person last asked for the run to be brought back: earlier ones have been thought about."""
    lost = [
        event for event in ledger.events(run) if event.kind in (LOST, ASKED) and (event.instance or is_asked(event))
    ]
    after = 0
    for event in lost:
        after = 0 if is_asked(event) else after + 1
    every = losses(ledger, run)
    return every[len(every) - after :]


def is_asked(event: Event) -> bool:
    """Whether a person asked."""
    return event.kind == ASKED


def loss_of(machines: list[Known], offer: Offer | None, saved: list[datetime], event: Event) -> Loss:
    """One lost machine. steps: checkpoints that came to be known between its beginning and the next machine's."""
    place = next((number for number, one in enumerate(machines) if one.id == event.instance), None)
    if place is None:
        return Loss("", "", 0, ON_DEMAND, 0)
    known = machines[place]
    later = [one.first for one in machines[place + 1 :]]
    steps = sum(known.first < at and (not later or at <= later[0]) for at in saved)
    if offer is not None:
        return Loss(known.provider, offer.gpu, offer.count, offer.kind, steps)
    seen = known.instance
    return Loss(known.provider, seen.gpu, seen.gpus or 0, seen.kind or ON_DEMAND, steps)


def last_machine(ledger: Ledger, run: str) -> Loss | None:
    """The machine that the run had last, lost or not: what `--same` means."""
    machines = ledger.known(run)
    if not machines:
        return None
    known = machines[-1]
    offers = {attempt.instance: attempt.offer for attempt in ledger.attempts(run) if attempt.instance}
    return loss_of(machines, offers.get(known.id), [], Event(known.first, run, LOST, "", known.id))
