"""The container of a run on its next machine: as the ledger keeps it, with secrets, price and time of now."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from fleet.deploy import volume
from fleet.deploy.container import amount, dollars, ends_at, restored, stored
from fleet.deploy.place import placed
from fleet.ledger.values import Run
from fleet.offers.offer import Offer
from fleet.providers.values import Container, Login
from profiles.errors import WrongInput

# Chosen for one kind of machine (fleet/deploy/training.py); on another the trainer finds them by itself.
OF_THE_MACHINE = ("train.micro_batch", "train.checkpointing")


def container(
    run: Run,
    offer: Offer,
    usd_hour: Decimal,
    secrets: Mapping[str, str],
    login: Login | None,
    now: datetime,
    hours: float | None,
    disk_gb: int = 0,
) -> Container:
    """What runs on the next machine. hours: that it may be rented, by what is left of the run's hours and dollars.

    The dollars and training hours that the run counts by itself are those of the whole run, since it counts earlier
    machines in (templates/run/variables); what ends this machine in time is its keeper's deadline. Raises WrongInput
    for a secret that is not set any more and a run of which the ledger keeps no container.
    """
    kept = restored(kept_of(run), secrets)
    count = offer.count or 1
    limits = run.limits
    told = {
        "STOKER_PRICE": amount(usd_hour / count),
        "STOKER_DOLLARS": dollars(limits, usd_hour),
        "TRAINING_HOURS": "" if limits.hours is None else f"{limits.hours:.2f}",
        "STOKER_IDLE_MINUTES": "" if limits.idle_minutes is None else f"{limits.idle_minutes:g}",
        "STOKER_DEADLINE": ends_at(now, hours),
    }
    env = {name: value for name, value in {**kept.env, **told}.items() if value or name not in told}
    env = placed(env, offer.provider)
    there = not volume.why_not(
        volume.restored(run.plan.get("volume")), offer.provider, offer.region, offer.machine, offer.tier
    )
    box = replace(kept, command=command(run, offer), env=env, login=login, disk_gb=disk_gb or kept.disk_gb)
    return box if there else replace(box, volume="")


def kept_of(run: Run) -> Mapping[str, Any]:
    """The container as the ledger keeps it. Raises WrongInput when it keeps none (a run that was recovered)."""
    found = run.plan.get("container")
    if not isinstance(found, Mapping):
        raise WrongInput(
            f"the ledger does not know what `{run.name}` was started with",
            f"./inv resume {run.name} --profile NAME, and the flags it was deployed with",
        )
    return found


def command(run: Run, offer: Offer) -> tuple[str, ...]:
    """The command, on a machine of another kind without what was chosen for the first one.

    With ZeRO the micro-batch stays: the trainer finds one by trying without it alone (trainer/config/schema.py).
    """
    words = tuple(str(word) for word in kept_of(run)["command"])
    first = run.plan.get("machine") or {}
    if (first.get("gpu"), first.get("count")) == (offer.gpu, offer.count) or any("parallel.zero=" in w for w in words):
        return words
    kept: list[str] = []
    for word in words:
        if kept and kept[-1] == "--set" and word.partition("=")[0] in OF_THE_MACHINE:
            kept.pop()
        else:
            kept.append(word)
    return tuple(kept)


def plan(run: Run, made: Container) -> dict[str, Any]:
    """The run's plan with this container; its command stays as it was first given."""
    return {**run.plan, "container": {**stored(made), "command": list(kept_of(run)["command"])}}
