"""A provider's market as a model: machines that bill, a clock that jumps over all pauses, and every fault of the shared
knob table (providers.md 4). It is the truth that the ledger is held against; it never looks into the ledger."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from fleet.offers.offer import INTERRUPTIBLE, ON_DEMAND, Found, Offer, Question
from fleet.providers.outcomes import Because, CreatedAnyway, NotCreated, Unable, Unclear
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

BEGIN = datetime(2026, 11, 21, 10, tzinfo=UTC)
IMAGE = "registry.example/team/train@sha256:" + "a" * 64
MAKES = ("create.drop_after_commit", "create.5xx_after_commit", "create.slow", "create.bad_2xx")
FAULTS = (
    *MAKES,
    "create.5xx_before_commit",
    "create.429_before",
    "create.capacity",
    "create.refused_anyway",
    "create.double",
    "list.fails",
    "list.misses",
    "status.unknown",
    "price.missing",
    "price.jump",
    "vanish",
    "destroy.429",
    "destroy.lost_answer",
    "stuck",
    "born_stopped",
    "never_answers",
)


class Killed(BaseException):
    """The end of our process between two statements: nothing of ours runs any more."""


@dataclass(slots=True)
class VirtualClock:
    """Sleeping moves it. shift: what our own clock shows beside the truth."""

    time: datetime = BEGIN
    shift: timedelta = timedelta(0)
    asleep: float = 0.0  # seconds in all

    def now(self) -> datetime:
        self.time += timedelta(milliseconds=1)  # nothing takes no time
        return self.time + self.shift

    def sleep(self, seconds: float) -> None:
        self.asleep += max(0.0, seconds)
        self.time += timedelta(seconds=max(0.0, seconds))


@dataclass(slots=True)
class Machine:
    """The truth about one machine."""

    id: str
    tag: str
    price: Decimal
    created: datetime
    env: Mapping[str, str]
    kind: str
    visible: datetime
    ended: datetime | None = None
    why: str = ""
    lingers: datetime | None = None  # listed until then, after its end
    stuck: bool = False
    stopped: bool = False
    silent: bool = False
    lost: State | None = None

    def billed(self, now: datetime) -> Decimal:
        """USD from creation to its end."""
        return self.price * Decimal(str(((self.ended or now) - self.created).total_seconds())) / 3600


@dataclass(slots=True)
class World:
    """One provider's truth and its faults. faults: name -> chance; one: names that happen at the next chance, once."""

    clock: VirtualClock
    seed: int = 0
    faults: dict[str, float] = field(default_factory=dict)
    once: list[str] = field(default_factory=list)
    lag: float = 0.0  # seconds until a new machine is listed, and as long as an ended one still is
    hidden: float = 0.0  # and at least so many for a new one
    boot: float = 60.0
    down: bool = False
    skew: timedelta = timedelta(0)  # of the provider's own clock
    machines: list[Machine] = field(default_factory=list)
    creates: list[str] = field(default_factory=list)  # tags that were asked for
    die: str = ""  # a place where our process ends: "before launch", "after launch", "after terminate"
    labels: bool = True  # whether lists repeat the label
    refuses: Because | None = None  # every create, for this reason
    asked: int = 0
    output: tuple[str, ...] = ()  # of every container
    late: list[tuple[datetime, Order]] = field(default_factory=list)
    _draw: random.Random = field(init=False)
    _missed: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._draw = random.Random(self.seed)

    def happens(self, fault: str) -> bool:
        """Whether a fault strikes now."""
        if fault in self.once:
            self.once.remove(fault)
            return True
        return self._draw.random() < self.faults.get(fault, 0.0)

    def commit(self, order: Order) -> Machine:
        """A machine begins to bill."""
        price = Decimal(str(order.offer.price * order.offer.count))
        bad = "bad" in order.offer.machine  # a machine that never works, whoever rents it
        machine = Machine(
            f"m{len(self.machines) + 1}",
            order.tag,
            price * 3 if self.happens("price.jump") else price,
            self.clock.time,
            {
                name: order.container.env[name]
                for name in ("STOKER_RUN", "STOKER_REMOTE")
                if name in order.container.env
            },
            order.offer.kind,
            self.clock.time + timedelta(seconds=max(self.hidden, self._draw.uniform(0, self.lag))),
            stuck=bad or self.happens("stuck"),
            stopped=self.happens("born_stopped"),
            silent=self.happens("never_answers"),
        )
        self.machines.append(machine)
        return machine

    def live(self) -> list[Machine]:
        """What bills now."""
        return [machine for machine in self.machines if machine.ended is None]

    def kill(self, machine: Machine, why: str, lingers: bool = True) -> None:
        """It stops billing."""
        if machine.ended is None:
            machine.ended, machine.why = self.clock.time, why
            machine.lingers = self.clock.time + timedelta(seconds=self._draw.uniform(0, self.lag) if lingers else 0)

    def listed(self) -> list[Machine]:
        """What a list shows: new ones late, ended ones for a while, and now and then one is left out, never twice in a
        row."""
        for at, order in list(self.late):
            if at <= self.clock.time:
                self.late.remove((at, order))
                self.commit(order)
        shown = []
        for machine in self.machines:
            if machine.ended is None and self.happens("vanish"):
                self.kill(machine, "vanished", lingers=False)
            until = machine.ended and max(machine.ended, machine.lingers or machine.ended)
            if self.clock.time < machine.visible or (until and self.clock.time >= until):
                continue
            if machine.id not in self._missed and self.happens("list.misses"):
                self._missed.add(machine.id)
                continue
            self._missed.discard(machine.id)
            shown.append(machine)
        return shown


@dataclass(slots=True)
class ModelProvider:
    """The protocol over a World."""

    world: World
    name: str = "vast"
    lacks: Mapping[str, str] = field(default_factory=dict)
    settled: list[str] = field(default_factory=list)
    unfit: Exception | None = None

    def offers(self, question: Question, seen: str) -> Found:
        return Found()

    def ensure_template(self, container: Container) -> Template:
        raise Unable("no templates here", "the order holds everything")

    def shown(self, container: Container, order: Order) -> list[Shown]:
        return []

    def launch(self, order: Order) -> Instance:
        world = self.world
        world.creates.append(order.tag)
        self._dies("before launch")
        if world.down:
            raise Unclear(f"{self.name}: no answer")
        if world.refuses is not None:
            raise NotCreated(world.refuses, f"{self.name}: no, {world.refuses}", f"see {self.name}")
        if world.happens("create.429_before"):
            raise NotCreated(Because.BUSY, f"{self.name}: too often", after=5.0)
        if world.happens("create.capacity") or "gone" in order.offer.machine:
            raise NotCreated(Because.CAPACITY, f"{self.name}: no such ask")
        if world.happens("create.5xx_before_commit"):
            raise Unclear(f"{self.name}: 502")
        if world.happens("create.late"):
            world.late.append((world.clock.time + timedelta(seconds=1800), order))
            raise Unclear(f"{self.name}: no answer in time")
        slow = world.happens("create.slow")
        if slow:
            world.clock.sleep(130)
        machine = world.commit(order)
        self._dies("after launch")
        if world.happens("create.double"):
            world.commit(order)
        if slow or any(world.happens(fault) for fault in MAKES):
            raise Unclear(f"{self.name}: the answer was lost")
        if world.happens("create.refused_anyway"):
            raise CreatedAnyway(machine.id, f"{self.name}: bid too low")
        return Instance(self.name, machine.id, order.tag, State.PENDING)

    def _dies(self, place: str) -> None:
        if self.world.die == place:
            self.world.die = ""
            raise Killed(place)

    def settle_in(self, instance: Instance, container: Container, tag: str) -> None:
        self.settled.append(instance.id)
        if self.unfit is not None:
            raise self.unfit

    def instances(self) -> list[Instance]:
        self._answers()
        return [self._instance(machine) for machine in self.world.listed()]

    def instance(self, id: str) -> Instance | None:
        self._answers()
        found = next((machine for machine in self.world.listed() if machine.id == id), None)
        return self._instance(found) if found else None

    def _answers(self) -> None:
        self.world.asked += 1
        self.world.clock.sleep(0.3)
        if self.world.down or self.world.happens("list.fails"):
            raise ProviderFailed(self.name, "503", "ask again later", 503)

    def _instance(self, machine: Machine) -> Instance:
        world, age = self.world, (self.world.clock.time - machine.created).total_seconds()
        state = State.PENDING if age < world.boot / 2 else State.STARTING if age < world.boot else State.RUNNING
        if machine.stuck and state is State.RUNNING:
            state = State.STARTING
        if machine.stopped:
            state = State.STOPPED
        state = machine.lost or state
        return Instance(
            provider=self.name,
            id=machine.id,
            tag=machine.tag if world.labels else "",
            state=State.UNKNOWN if world.happens("status.unknown") else state,
            usd_hour=None if world.happens("price.missing") else machine.price,
            kind=machine.kind,
            image=IMAGE,
            created=machine.created + world.skew,
            env=machine.env,
            ssh=Ssh("203.0.113.9"),
        )

    def terminate(self, id: str) -> None:
        world = self.world
        if world.down or world.happens("destroy.429"):
            raise ProviderFailed(self.name, "429", "ask again in a minute", 429)
        machine = next((each for each in world.machines if each.id == id), None)
        if machine is None or world.clock.time < machine.visible:
            return  # "there is none": a success that a list which lags makes a lie
        world.kill(machine, "terminated")
        self._dies("after terminate")
        if world.happens("destroy.lost_answer"):
            raise ProviderFailed(self.name, "no answer in time", "ask again later")

    def answers(self, instance: Instance) -> str:
        """What a launch asks of a running machine."""
        machine = next(each for each in self.world.machines if each.id == instance.id)
        return "no shell yet" if machine.silent else ""

    def logs(self, id: str, tail: int = 100, follow: bool = False) -> Iterator[str]:
        return iter(self.world.output)

    def ssh(self, id: str) -> Ssh | None:
        return None

    def stop(self, id: str) -> None:
        raise Unable("no stop", "")

    def start(self, id: str) -> None:
        raise Unable("no start", "")

    def balance(self) -> Balance:
        return Balance(self.name, None)

    def volumes(self) -> list[Volume]:
        return []

    def registries(self) -> list[Credential]:
        return []

    def ensure_registry(self, login: Login) -> Credential:
        raise Unable("no registries", "")

    def keys(self) -> list[str]:
        return []


def offer(
    number: int = 1, price: float = 2.0, provider: str = "vast", kind: str = ON_DEMAND, machine: str = ""
) -> Offer:
    """An offer of one H100 on a machine of its own."""
    seen = BEGIN.isoformat()
    return Offer(provider, "h100-sxm", 1, price, kind, str(number), seen, "US", machine=machine or f"host-{number}")


def bid(number: int, price: float) -> Offer:
    """An interruptible one."""
    return offer(number, price, kind=INTERRUPTIBLE)


def container(run: str) -> Container:
    """What runs."""
    return Container(
        run, IMAGE, env={"STOKER_RUN": run, "STOKER_REMOTE": "s3://bucket/runs"}, secrets={"HF_TOKEN": "hf_x"}
    )
