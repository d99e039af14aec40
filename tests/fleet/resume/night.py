"""A night of training as a model: machines of the launcher's own model that make steps and save them to a store, die in
every way that is known, and are counted; in virtual time."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from fleet.deploy.container import stored as kept
from fleet.ledger.ledger import Ledger
from fleet.ledger.opening import open_ledger
from fleet.ledger.values import Limits, Run
from fleet.life.verdict import Patience as LifePatience
from fleet.offers.offer import INTERRUPTIBLE, Found, Offer, Question
from fleet.providers.values import Container, Instance, State
from fleet.resume.policy import Policy
from fleet.resume.resume import Comeback, Terms
from fleet.resume.saved import Saved
from fleet.watch.watch import Watch
from fleet.watch.watched import Eyes, Watched
from fleet.wire.failed import ProviderFailed
from profiles.errors import OutsideFailed
from tests.fleet.launch.model_world import IMAGE, Machine, ModelProvider, VirtualClock, World, offer

REMOTE = "s3://bucket/night"
GOAL, EVERY, RATE = 600, 20, 2.0  # steps; steps between checkpoints; steps a minute


@dataclass
class Work:
    """What the machines train and save. saved: whole checkpoints at the store; fails: what the store raises."""

    clock: VirtualClock
    saved: set[int] = field(default_factory=set)
    reached: dict[str, int] = field(default_factory=dict)  # machine's tag -> its newest step
    begun: dict[str, int] = field(default_factory=dict)  # tag -> the step that it went on from
    stops: dict[str, datetime] = field(default_factory=dict)  # tag -> when it stopped working
    codes: dict[str, int] = field(default_factory=dict)  # tag -> what its run script ended with
    ends: dict[int, str] = field(default_factory=dict)  # step -> why the training ended there, as the store tells
    saves: bool = True
    fails: OutsideFailed | None = None

    def go(self, worlds: Sequence[World]) -> None:
        """Up to now."""
        for world in worlds:
            for machine in world.machines:
                self._one(world, machine)

    def _one(self, world: World, machine: Machine) -> None:
        begin = machine.created + timedelta(seconds=world.boot)
        end = min(self.clock.time, machine.ended or self.clock.time, self.stops.get(machine.tag, self.clock.time))
        if machine.stuck or machine.stopped or machine.silent or end <= begin:
            return
        start = self.begun.setdefault(machine.tag, max(self.saved, default=0))
        step = min(GOAL, start + int((end - begin).total_seconds() / 60 * RATE))
        self.reached[machine.tag] = step
        if self.saves:
            self.saved |= {one for one in range(start + 1, step + 1) if one % EVERY == 0 or one == GOAL}


@dataclass(slots=True)
class Place(ModelProvider):
    """A provider whose machines train. requests: every request, and when."""

    work: Work = field(kw_only=True)
    shelf: list[Offer] = field(default_factory=list)
    requests: list[tuple[datetime, str]] = field(default_factory=list)
    mute: bool = False  # its machines' output cannot be read
    per_output: int = 1
    silent: bool = False  # the output of its machines is empty
    full: bool = False  # a stopped machine has no GPU any more
    started: list[str] = field(default_factory=list)

    def offers(self, question: Question, seen: str) -> Found:
        self._counted("offers")
        kinds = [one for one in self.shelf if question.spot or one.kind != INTERRUPTIBLE]
        return Found([one for one in kinds if one.count in question.counts and one.gpu in question.wanted])

    def _counted(self, what: str, times: int = 1) -> None:
        self.requests += [(self.world.clock.time, what)] * times
        if self.world.down:
            raise ProviderFailed(self.name, "503", "ask again later", 503)

    def _answers(self) -> None:
        self._counted("list")
        ModelProvider._answers(self)

    def start(self, id: str) -> None:
        self._counted("start")
        if self.full:
            raise ProviderFailed(self.name, "no GPU is free there", "later", 409)
        machine = next(machine for machine in self.world.machines if machine.id == id)
        self.started.append(id)
        machine.lost = None
        self.work.stops.pop(machine.tag, None)

    def logs(self, id: str, tail: int = 100, follow: bool = False) -> Iterator[str]:
        self._counted("output", self.per_output)
        if self.mute:
            raise ProviderFailed(self.name, "no output", "ask again later", 500)
        self.work.go([self.world])
        tag = next(machine.tag for machine in self.world.machines if machine.id == id)
        now = self.world.clock.time
        step, time = self.work.reached.get(tag), min(now, self.work.stops.get(tag, now)).timestamp()
        if step is not None and self.silent:
            step = None
        told = {"step": step, "loss": 3.0, "time": time, "step_seconds": 60 / RATE}
        lines = [] if step is None else [json.dumps({"event": "step", **told})]
        if step is not None and step // EVERY:
            lines.append(json.dumps({"event": "save", "step": step // EVERY * EVERY, "time": time}))
        if step == GOAL:
            lines.append(json.dumps({"event": "stop", "step": step, "reason": "done"}))
            self.work.codes.setdefault(tag, 0)
        if tag in self.work.codes:
            lines.append(f"keeper: the run ended with {self.work.codes[tag]}")
        return iter(lines[-tail:])


def shelf(provider: str, price: float = 2.0, count: int = 8) -> list[Offer]:
    """On-demand machines, the cheapest first."""
    return [offer(number, price + number / 100, provider) for number in range(1, count + 1)]


@dataclass
class Night:
    """One user with one run, and the providers. `reboot`: a new process with nothing but the ledger's folder."""

    folder: Path
    names: tuple[str, ...] = ("vast", "runpod")
    limits: Limits = field(default_factory=lambda: Limits(Decimal(100), Decimal(3), 40.0, 30.0))
    clock: VirtualClock = field(default_factory=VirtualClock)
    said: list[str] = field(default_factory=list)
    looks: list[Watched] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.work = Work(self.clock)
        self.places = {name: Place(World(self.clock), name, work=self.work) for name in self.names}
        for number, (name, place) in enumerate(self.places.items()):
            place.shelf = shelf(name, 2.0 + number / 2)
        self.ledger = open_ledger(self.folder, self.clock)

    def reboot(self) -> None:
        self.ledger.shut()
        self.ledger = open_ledger(self.folder, self.clock)

    def run(self, name: str = "night", remote: str = REMOTE, policy: str = "any") -> str:
        box = Container(
            name, IMAGE, ("/opt/stoker/bin/run", "--steps", str(GOAL)),
            env={"STOKER_RUN": name, "STOKER_REMOTE": remote, "STOKER_PRICE": "1"}, secrets={"HF_TOKEN": "hf_x"},
        )  # fmt: skip
        plan = {
            "container": kept(box),
            "machine": {"gpu": "h100-sxm", "count": 1},
            "needs": {"gpus": ["h100-sxm"], "count": 1, "disk_gb": 50},
        }
        self.ledger.add_run(Run(name, "", IMAGE, plan, self.limits, policy, remote))
        return name

    def stored(self, url: str) -> list[Saved]:
        self.work.go([place.world for place in self.places.values()])
        if self.work.fails is not None:
            raise self.work.fails
        return [
            Saved(step, f"{url}/step-{step:08d}", end=self.work.ends.get(step, "")) for step in sorted(self.work.saved)
        ]

    def comeback(self, ledger: Ledger | None = None, **terms: Any) -> Comeback:
        return Comeback(
            ledger or self.ledger,
            dict(self.places),
            self.clock,
            self.said.append,
            self.stored,
            {"HF_TOKEN": "hf_x"},
            terms=Terms(**terms),
            ready=lambda provider, instance: provider.answers(instance),
        )

    def train(self, name: str = "night", minutes: float = 60.0, **terms: Any) -> Machine:
        """The run's first machine, trained on for a while."""
        from fleet.resume.resume import resume

        done = resume(self.comeback(from_start=True, **terms), name)
        assert done.deployed is not None and not done.deployed.waiting, done
        self.wait(minutes)
        return self.machine(done.deployed.instance)

    def wait(self, minutes: float) -> None:
        """Time passes; what the machines train and save meanwhile is there."""
        self.clock.sleep(minutes * 60)
        self.work.go([place.world for place in self.places.values()])

    def machine(self, instance: Instance) -> Machine:
        world = self.places[instance.provider].world
        return next(one for one in world.machines if one.id == instance.id)

    def dies(self, machine: Machine, state: State | None) -> None:
        """It works no longer. state: what its provider says of it from now on; None: it is gone."""
        self.work.go([place.world for place in self.places.values()])
        self.work.stops[machine.tag] = self.clock.time
        if state is None:
            self.world_of(machine).kill(machine, "host lost", lingers=False)
        else:
            machine.lost = state

    def world_of(self, machine: Machine) -> World:
        return next(place.world for place in self.places.values() if machine in place.world.machines)

    def live(self) -> list[Machine]:
        return [machine for place in self.places.values() for machine in place.world.live()]

    def machines(self) -> list[Machine]:
        return [machine for place in self.places.values() for machine in place.world.machines]

    def bill(self) -> Decimal:
        return sum((machine.billed(self.clock.time) for machine in self.machines()), Decimal(0))

    def kinds(self, name: str = "night") -> list[str]:
        return [event.kind for event in self.ledger.events(name)]

    def watching(self, **more: Any) -> Watch:
        return Watch(
            Eyes(self.ledger, dict(self.places), self.clock, patience=LifePatience()),
            self.looks.append,
            self.said.append,
            saved=lambda run: max((one.step for one in self.stored(run.remote)), default=None),
            **more,
        )


__all__ = ["EVERY", "GOAL", "REMOTE", "Night", "Place", "Policy"]
