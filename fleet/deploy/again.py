"""Going on with a deploy that died half way: its machine may be there, and must be neither forgotten nor doubled."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from fleet.clock import Clock
from fleet.deploy import waiting
from fleet.deploy.container import amount, deadline, ends_at, restored
from fleet.deploy.deploy import Deployed, Ready, kept, trains
from fleet.deploy.place import placed
from fleet.ledger.left import hours_left
from fleet.ledger.values import MAY_BILL, Attempt, Run
from fleet.providers.provider import Provider
from fleet.providers.values import Container, Login
from profiles.errors import Refused, StoppedEarly

if TYPE_CHECKING:
    from fleet.launch.patience import Patience
    from fleet.ledger.ledger import Ledger


def left(ledger: Ledger, run: str) -> list[Attempt]:
    """Orders of the run's open wish that have made a machine, or may have; [] when there is nothing to go on with."""
    wish = ledger.open_wish(run)
    if wish is None:
        return []
    return [attempt for attempt in ledger.attempts(run) if attempt.wish == wish.id and attempt.state in MAY_BILL]


def go_on(
    ledger: Ledger,
    run: Run,
    providers: Mapping[str, Provider],
    secrets: Mapping[str, str],
    login: Login | None,
    clock: Clock,
    say: Callable[[str], None],
    *,
    ready: Ready = waiting.ready,
    patience: Patience | None = None,
    first_step: timedelta = waiting.BOOT,
) -> Deployed:
    """Waits for the machine that was ordered before, with the container it was ordered for.

    secrets: of now, since none are kept. Raises Refused when another process holds the run or there is nothing to go on
    with, WrongInput when a secret is missing, NoMachine when it came to nothing: then a new `deploy` may try others.
    """
    from fleet.launch.candidate import Candidate
    from fleet.launch.launch import launch
    from fleet.launch.patience import Patience

    orders = [one for one in left(ledger, run.name) if one.offer is not None and one.provider in providers]
    if not orders:
        raise Refused(f"nothing that was ordered for `{run.name}` can be gone on with", "./inv reconcile")
    order = orders[-1]
    assert order.offer is not None
    now = clock.now()
    ends = ends_at(now, hours_left(ledger, run, now, order.usd_hour))
    container = as_ordered(run, order, secrets, login, ends)
    candidate = Candidate(providers[order.provider], order.offer, container)
    wish = ledger.wish(run.name, "deploy, gone on with")
    try:
        waits = patience or Patience()
        instance = launch(ledger, wish, [candidate], order.most_usd_hour, clock, say, waits, ready, providers)
        return trains(ledger, run.name, providers[instance.provider], instance, clock, say, first_step)
    except KeyboardInterrupt:
        raise StoppedEarly(*kept(ledger, run.name)) from None


def as_ordered(run: Run, order: Attempt, secrets: Mapping[str, str], login: Login | None, ends: str = "") -> Container:
    """The container of an order, by what the ledger keeps of the run. ends: seconds since 1970 at which its machine has
    to be gone, by what is left of the run's limits; "": as if nothing of them had been used when it was ordered."""
    container = restored(run.plan["container"], secrets)
    count = order.offer.count if order.offer and order.offer.count else 1
    told = {
        "STOKER_PRICE": amount(order.usd_hour / count),
        "STOKER_DEADLINE": ends or deadline(order.made, run.limits, order.usd_hour),
    }
    env = {**container.env, **{name: value for name, value in told.items() if value}}
    return replace(container, env=placed(env, order.provider), login=login)
