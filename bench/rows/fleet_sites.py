"""The simulated providers in this process, and the program of a user in others: what the rows of the fleet share."""

from __future__ import annotations

import importlib
import math
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from fleet.clock import Clock, SimulatedClock
from fleet.launch.arrive import Ready
from fleet.launch.candidate import Candidate
from fleet.launch.launch import launch
from fleet.launch.patience import Patience
from fleet.ledger.ledger import Ledger
from fleet.ledger.values import Run
from fleet.offers.offer import Question
from fleet.providers.provider import Provider
from fleet.providers.values import Container, Instance
from fleet.simulators.bodies.open import open_bodies
from fleet.simulators.bodies.state import State
from fleet.simulators.clock import VirtualClock
from fleet.simulators.server import running
from fleet.simulators.site import Site
from fleet.simulators.truth import rentals
from fleet.simulators.wire import Reply
from fleet.wire.failed import KEY_NAMES

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("runpod", "vast", "hyperbolic")


@dataclass(frozen=True)
class Exchange:
    """One request to a provider and what it got, as they went over the wire."""

    provider: str
    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    reply: Reply


@dataclass
class Served:
    """Sites on loopback, on one clock. seconds: how much later than at once each provider answers, in real time."""

    sites: Mapping[str, Site]
    urls: Mapping[str, str]
    clock: VirtualClock
    seconds: dict[str, float] = field(default_factory=dict)
    exchanges: list[Exchange] = field(default_factory=list)

    def environ(self, folder: Path, keys: Mapping[str, str] | None = None) -> dict[str, str]:
        """A user's whole environment: home and state in `folder`, keys of all that is served, nothing else of ours."""
        home = folder / "home"
        home.mkdir(parents=True, exist_ok=True)
        held = keys or {name: f"key-of-{name}-{'0123456789abcdef' * 2}" for name in self.sites}
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "STOKER_HOME": str(folder / "state"),
            "STOKER_CLOCK": self.urls["clock"],
            "COLUMNS": "140",
            **{KEY_NAMES[name]: value for name, value in held.items()},
            **{f"STOKER_{name.upper()}_URL": self.urls[name] for name in self.sites},
        }

    def faults(self, provider: str, knobs: Mapping[str, Any]) -> None:
        """Sets knobs of one provider."""
        self.sites[provider].world.faults.set(knobs)

    def books(self, provider: str) -> Any:
        """The truth of one provider (fleet/simulators/truth.py)."""
        return rentals(self.sites[provider].world)


@contextmanager
def served(
    names: Sequence[str] = NAMES,
    *,
    speed: float = math.inf,
    bodies: str = "none",
    command: str = "",
    state: Path | None = None,
) -> Iterator[Served]:
    """Serves the providers `names` until the block ends; every exchange is kept."""
    clock = VirtualClock(speed)
    kept = State(state)
    try:
        made = open_bodies(bodies, kept, command)
        sites = {
            name: importlib.import_module(f"fleet.simulators.{name}.site").open_site(clock, made) for name in names
        }
        with running(list(sites.values())) as urls:
            found = Served(sites, urls, clock)
            for name, site in sites.items():
                _record(found, name, site)
            yield found
    finally:
        kept.close()


def _record(found: Served, name: str, site: Site) -> None:
    answer = site.answer

    def recorded(method: str, target: str, headers: dict[str, str], body: bytes) -> Reply:
        reply = answer(method, target, headers, body)
        if not target.startswith("/_sim/"):
            found.exchanges.append(Exchange(name, method, target, headers, body, reply))
            reply.slow += found.seconds.get(name, 0.0)
        return reply

    site.answer = recorded  # type: ignore[method-assign]


@dataclass(frozen=True)
class Said:
    """A command's end. seconds: of the wall's clock."""

    code: int
    out: str
    err: str
    seconds: float


def inv(environ: Mapping[str, str], *words: str, limit: float = 600.0) -> Said:
    """./inv WORDS in a process of its own, in an empty folder."""
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, str(ROOT / "cli" / "program.py"), *words],
        cwd=environ["HOME"],
        env=dict(environ),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=limit,
    )
    return Said(done.returncode, done.stdout, done.stderr, time.monotonic() - began)


class Together:
    """One virtual clock for several threads: it goes on to the next one's hour when all of them sleep.

    `leave` takes a thread out; `until` ends it: a sleep beyond it raises Over.
    """

    def __init__(self, clock: SimulatedClock, threads: int, seconds: float) -> None:
        self._clock, self._awake = clock, threads
        self._wake: list[float] = []
        self._changed = threading.Condition()
        self._passed, self._end = 0.0, seconds

    def now(self) -> Any:
        """As the simulators have it."""
        return self._clock.now()

    def sleep(self, seconds: float) -> None:
        """Until all others sleep as long. Raises Over at the end."""
        with self._changed:
            hour = self._passed + max(0.0, seconds)
            if hour > self._end:
                raise Over
            self._wake.append(hour)
            self._awake -= 1
            self._go_on()
            while self._passed < hour:
                self._changed.wait(60)

    def leave(self) -> None:
        """This thread sleeps no more."""
        with self._changed:
            self._awake -= 1
            self._go_on()

    def _go_on(self) -> None:
        """Moves the time when nobody is awake; those whose hour has come count as awake from then on."""
        if self._awake == 0 and self._wake:
            hour = min(self._wake)
            self._clock.sleep(hour - self._passed)
            self._passed = hour
            self._awake = sum(one <= hour for one in self._wake)
            self._wake = [one for one in self._wake if one > hour]
            self._changed.notify_all()


class Over(Exception):
    """The watched time is over."""


def quiet(line: str) -> None:
    """Progress that nobody reads."""


class Bare:
    """A provider whose machines need nothing done over SSH: there is no shell in a simulator without bodies."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider

    def __getattr__(self, name: str) -> Any:
        return getattr(self._provider, name)

    def settle_in(self, instance: Instance, container: Container, tag: str) -> None:
        """See Provider."""


def rent(
    ledger: Ledger, provider: Provider, run: Run, env: Mapping[str, str], clock: Clock, ready: Ready | None = None
) -> Instance:
    """One machine for `run` by the real launcher: the cheapest there is. Ready at once, when nobody says else."""
    ledger.add_run(run)
    wish = ledger.wish(run.name, "deploy")
    question = Question(counts=(1, 2, 4, 8), disk_gb=20, min_reliability=0.0)
    offers = sorted(provider.offers(question, clock.now().isoformat()).offers, key=lambda each: each.per_hour(20))
    told = {"STOKER_RUN": run.name, "STOKER_REMOTE": run.remote, **env}
    container = Container(run.name, run.image, env={name: value for name, value in told.items() if value}, disk_gb=20)
    candidates = [Candidate(provider, each, container) for each in offers]
    return launch(ledger, wish, candidates, Decimal(100), clock, quiet, Patience(), ready or (lambda *_: ""))
