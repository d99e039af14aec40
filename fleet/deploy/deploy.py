"""From a deployment to a machine that trains: the ledger first, then one launch, then its own words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from fleet.clock import Clock
from fleet.deploy import waiting
from fleet.deploy.container import ends_at
from fleet.deploy.deployment import Deployment
from fleet.ledger.left import hours_left
from fleet.ledger.values import OPEN, Known, Wish
from fleet.life.signs import Signs
from fleet.providers.provider import Provider
from fleet.providers.values import Instance
from profiles.errors import StoppedEarly

if TYPE_CHECKING:
    from fleet.launch.candidate import Candidate
    from fleet.launch.patience import Patience
    from fleet.ledger.ledger import Ledger

Ready = Callable[[Provider, Instance], str]


@dataclass(frozen=True, slots=True)
class Deployed:
    """A machine that is ours. signs: what its run said; waiting: why it is not known to train, "" when it does."""

    run: str
    instance: Instance
    signs: Signs = field(default_factory=Signs)
    waiting: str = ""


def deploy(
    deployment: Deployment,
    ledger: Ledger,
    providers: Mapping[str, Provider],
    clock: Clock,
    say: Callable[[str], None],
    *,
    ready: Ready = waiting.ready,
    patience: Patience | None = None,
    first_step: timedelta = waiting.BOOT,
) -> Deployed:
    """Rents one machine for the run and waits until it trains.

    What an earlier process left is settled first, so the same command after a crash finds its machine instead of
    renting a second one. Raises Refused when another process launches the run, NoMachine (a table of what was tried),
    and StoppedEarly after Ctrl-C, saying what is there and what it costs.
    """
    wish = begin(deployment, ledger)
    try:
        instance = launched(deployment, ledger, wish, providers, clock, say, ready, patience)
        return trains(ledger, deployment.name, providers[instance.provider], instance, clock, say, first_step)
    except KeyboardInterrupt:
        raise StoppedEarly(*kept(ledger, deployment.name)) from None


def trains(
    ledger: Ledger,
    run: str,
    provider: Provider,
    instance: Instance,
    clock: Clock,
    say: Callable[[str], None],
    patience: timedelta,
) -> Deployed:
    """Waits for the first step, and keeps in the story how that went. The machine is kept either way."""
    say(f"{instance.provider} {instance.id} is there; waiting for the first step")
    known, why = waiting.until_it_trains(provider, instance, clock, say, patience)
    ledger.tell(run, "waiting" if why else "training", why or f"step {known.step}", instance.id)
    return Deployed(run, instance, known, why)


def begin(deployment: Deployment, ledger: Ledger) -> Wish:
    """The run and its wish, on disk. A run that never had a machine is taken up again, with what is asked for now.

    Raises Refused when another process holds it.
    """
    run = deployment.run()
    if run.name not in {known.name for known in ledger.runs()}:
        ledger.add_run(run)
        return ledger.wish(run.name, "deploy")
    wish = ledger.wish(run.name, "deploy, again")
    if not ledger.known(run.name):
        ledger.change_run(
            run.name, limits=run.limits, plan=run.plan, policy=run.policy, remote=run.remote, image=run.image
        )
    return wish


def launched(
    deployment: Deployment,
    ledger: Ledger,
    wish: Wish,
    providers: Mapping[str, Provider],
    clock: Clock,
    say: Callable[[str], None],
    ready: Ready,
    patience: Patience | None,
) -> Instance:
    """The launcher's machine; it settles what is unsettled of this wish before it creates anything."""
    from fleet.launch.launch import launch
    from fleet.launch.patience import Patience

    waits = patience or Patience.of(deployment.image.size)
    now, run = clock.now(), ledger.run(deployment.name)
    box = deployment.recipe
    found = [
        ending(
            one,
            ends_at(now, hours_left(ledger, replace(run, limits=box.on_top(run.limits, priced)), now, priced.usd_hour)),
        )
        for one, priced in zip(deployment.candidates(providers, now), deployment.tried, strict=True)
    ]
    return launch(ledger, wish, found, deployment.usd_hour, clock, say, waits, ready, providers)


def ending(candidate: Candidate, ends: str) -> Candidate:
    """With what is left of the run's limits as its deadline: an earlier machine of the run may have used some."""
    box = candidate.container
    told = {"STOKER_DEADLINE": ends} if ends and "STOKER_DEADLINE" in box.env else {}
    return replace(candidate, container=replace(box, env={**box.env, **told}))


def kept(ledger: Ledger, run: str) -> tuple[str, str]:
    """After an interruption: what is there, what it costs, and how to end it or go on."""
    live = ledger.live(run)
    if live:
        return f"stopped; {told(live[0])}", f"./inv logs {run}; to end it: ./inv terminate {run}"
    if ledger.unsettled(run):
        return (
            "stopped while a machine was being ordered: whether it is there is not known yet",
            f"./inv deploy --name {run} goes on, ./inv reconcile finds it; ./inv terminate {run} ends it",
        )
    if ledger.run(run).state == OPEN:
        return "stopped; nothing was rented", f"./inv deploy --name {run} goes on, ./inv terminate {run} forgets it"
    return "stopped; nothing is rented", "./inv status"


def told(known: Known) -> str:
    """'runpod 7h9k runs on and costs 2.49 USD/h'."""
    price = f"{known.usd_hour:.2f} USD/h" + (" (assumed)" if known.assumed else "")
    return f"{known.provider} {known.id} is kept and costs {price}"
