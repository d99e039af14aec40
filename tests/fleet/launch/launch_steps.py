"""What the tests of launching have in common: a scene with a ledger, a market, and the end of our process."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from fleet.launch.candidate import Candidate
from fleet.launch.launch import launch
from fleet.launch.patience import USUAL, Patience
from fleet.launch.reconcile import reconcile
from fleet.launch.rows import Row
from fleet.ledger.ledger import Ledger
from fleet.ledger.opening import open_ledger
from fleet.ledger.values import Limits, Run
from fleet.offers.offer import Offer
from fleet.providers.values import Instance
from tests.fleet.launch.model_world import IMAGE, Killed, ModelProvider, VirtualClock, World, container, offer

CAP = Decimal("3")


class Mortal(Ledger):
    """A ledger whose process ends before or after its n-th write from now; dead, it writes nothing any more."""

    writes_left: float = float("inf")
    after: bool = True
    dead: bool = False

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        if self.dead:
            raise Killed("dead")
        self.writes_left -= 1
        if self.writes_left < 0 and not self.after:
            self.dead = True
            raise Killed("before a write")
        with super()._writing() as db:
            yield db
        if self.writes_left < 0:
            self.dead = True
            raise Killed("after a write")


@dataclass
class Scene:
    """One checkout with one or more providers. `reopen` is a new process."""

    folder: Path
    clock: VirtualClock = field(default_factory=VirtualClock)
    world: World = field(init=False)
    provider: ModelProvider = field(init=False)
    ledger: Mortal = field(init=False)
    said: list[str] = field(default_factory=list)
    patience: Patience = USUAL

    def __post_init__(self) -> None:
        self.world = World(self.clock)
        self.provider = ModelProvider(self.world)
        self.ledger = self._opened()

    def _opened(self) -> Mortal:
        ledger = open_ledger(self.folder, self.clock)
        ledger.__class__ = Mortal
        assert isinstance(ledger, Mortal)
        return ledger

    def reopen(self) -> None:
        """The old process is dead, its locks with it; the next one opens the ledger."""
        self.ledger.shut()
        self.ledger = self._opened()

    @property
    def providers(self) -> dict[str, Any]:
        return {self.provider.name: self.provider}

    def run(self, name: str = "night", usd: Decimal | None = None) -> str:
        self.ledger.add_run(Run(name, "h100", IMAGE, limits=Limits(usd=usd)))
        return name

    def candidates(self, offers: Sequence[Offer] = (), run: str = "night") -> list[Candidate]:
        found = offers or [offer(number) for number in range(1, 7)]
        return [Candidate(self.provider, each, container(run)) for each in found]

    def launch(
        self,
        run: str = "night",
        offers: Sequence[Offer] = (),
        candidates: Sequence[Candidate] = (),
        ready: Callable[[Any, Instance], str] | None = None,
    ) -> Instance:
        wish = self.ledger.wish(run, "deploy")
        return launch(
            self.ledger,
            wish,
            candidates or self.candidates(offers, run),
            CAP,
            self.clock,
            self.said.append,
            self.patience,
            ready or (lambda provider, instance: provider.answers(instance)),
            self.providers,
        )

    def reconcile(self, adopt: Sequence[str] = (), dry_run: bool = False) -> list[Row]:
        return reconcile(self.ledger, self.providers, self.clock, adopt, dry_run, self.patience, self.said.append)

    def kinds(self, rows: Sequence[Row]) -> list[str]:
        return [row.kind for row in rows]

    def true_cost(self, run: str) -> Decimal:
        """What the provider will bill for a run."""
        tags = {each.tag for each in self.ledger.attempts(run)}
        return sum((each.billed(self.clock.time) for each in self.world.machines if each.tag in tags), Decimal(0))

    def agrees(self) -> None:
        """After a reconcile: what lives is known, what is known lives, one machine at most per run."""
        live = {machine.id for machine in self.world.live()}
        known = [machine.id for machine in self.ledger.live()]
        assert sorted(known) == sorted(live)
        runs = [machine.run for machine in self.ledger.live()]
        assert len(runs) == len(set(runs))
