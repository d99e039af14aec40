"""Offers, profiles and a provider of plain values for the tests of what is decided before anything is rented."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from fleet.deploy.candidates import Priced
from fleet.deploy.image import Chosen
from fleet.offers.offer import ON_DEMAND, Found, Offer, Question
from fleet.providers.outcomes import Because, NotCreated, Unable
from fleet.providers.values import (
    Balance,
    Container,
    Credential,
    Instance,
    Login,
    Order,
    Shown,
    Ssh,
    State,
    Template,
    Volume,
)
from fleet.wire.failed import ProviderFailed

SEEN = "2026-11-21T12:00:00+00:00"
IMAGE = Chosen("ghcr.io/someone/stoker@sha256:" + "a" * 64, "h100-fp8-0.1.0", "h100-fp8", 10_000_000_000)


def an_offer(**changed: Any) -> Offer:
    """Eight H100 at Vast, on demand, 2.00 USD per GPU-hour, room for everything."""
    plain = Offer(
        "vast", "h100-sxm", 8, 2.0, ON_DEMAND, "1001", SEEN, region="SE", disk_gb=2000.0, disk_price=0.15,
        up_price=0.005, down_price=0.003, ram_gb=1500.0, nvlink_gbs=900.0, cuda="12.9", driver="575.57.08",
        reliability=0.99, hours=2000.0, machine="88888",
    )  # fmt: skip
    return replace(plain, **changed)


def priced(offer: Offer, usd: str = "16", **more: Any) -> Priced:
    """An offer at so many USD per hour, with 50 GB of disk."""
    return Priced(offer, Decimal(usd), 50, **more)


class Tick:
    """A clock of its own: sleeping moves it. interrupted_after: sleeps until somebody presses Ctrl-C."""

    def __init__(self, interrupted_after: int | None = None) -> None:
        self.time = datetime(2026, 11, 21, 12, tzinfo=UTC)
        self.left = interrupted_after

    def now(self) -> datetime:
        return self.time

    def sleep(self, seconds: float) -> None:
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                raise KeyboardInterrupt
        self.time += timedelta(seconds=seconds)


@dataclass
class Stall:
    """A provider with machines in memory: what is not told stays untold, what is gone is not listed."""

    name: str = "vast"
    shelf: list[Offer] = field(default_factory=list)
    output: list[str] = field(default_factory=list)
    credit: Decimal | None = Decimal(1000)
    down: bool = False
    refuses: NotCreated | None = None
    shell: Ssh | None = None
    stored: list[Volume] | None = field(default_factory=list)
    lacks: Mapping[str, str] = field(default_factory=dict)
    machines: dict[str, Instance] = field(default_factory=dict)
    orders: list[Order] = field(default_factory=list)
    asked: list[Question] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)

    def offers(self, question: Question, seen: str) -> Found:
        self.answers()
        self.asked.append(question)
        return Found([one for one in self.shelf if one.count in question.counts and one.gpu in question.wanted])

    def ensure_template(self, container: Container) -> Template:
        raise Unable(f"{self.name} has no templates", "rent without one")

    def launch(self, order: Order) -> Instance:
        self.answers()
        self.orders.append(order)
        if self.refuses is not None:
            raise self.refuses
        if not any(one.id == order.offer.id for one in self.shelf):
            raise NotCreated(Because.CAPACITY, "it is gone", "the next one")
        one = order.offer
        made = Instance(
            self.name, f"m{len(self.orders)}", order.tag, State.RUNNING, "running", Decimal(str(one.price * one.count)),
            gpu=one.gpu, gpus=one.count, machine=one.machine,
        )  # fmt: skip
        self.machines[made.id] = made
        return made

    def settle_in(self, instance: Instance, container: Container, tag: str) -> None:
        pass

    def shown(self, container: Container, order: Order) -> list[Shown]:
        body = {"image": container.image, "env": {**container.env, **dict.fromkeys(container.secrets, "***")}}
        return [Shown(self.name, "PUT", f"/asks/{order.offer.id}/", {**body, "label": order.tag})]

    def instances(self) -> list[Instance]:
        self.answers()
        return list(self.machines.values())

    def instance(self, id: str) -> Instance | None:
        self.answers()
        return self.machines.get(id)

    def logs(self, id: str, tail: int = 100, follow: bool = False) -> Iterator[str]:
        self.answers()
        yield from self.output[-tail:]

    def ssh(self, id: str) -> Ssh | None:
        return self.shell

    def stop(self, id: str) -> None:
        self.machines[id] = replace(self.machines[id], state=State.STOPPED)

    def start(self, id: str) -> None:
        raise Unable(f"{self.name} starts nothing", "rent another")

    def terminate(self, id: str) -> None:
        self.answers()
        self.ended.append(id)
        self.machines.pop(id, None)

    def balance(self) -> Balance:
        self.answers()
        return Balance(self.name, self.credit, Decimal(0))

    def volumes(self) -> list[Volume]:
        self.answers()
        if self.stored is None:
            raise Unable(f"{self.name} has no volumes", "nothing to see")
        return self.stored

    def registries(self) -> list[Credential]:
        return []

    def ensure_registry(self, login: Login) -> Credential:
        return Credential(self.name, "1", login.registry)

    def keys(self) -> Sequence[str]:
        return ()

    def answers(self) -> None:
        if self.down:
            raise ProviderFailed(self.name, "503 down for repair", "ask again later", 503)
