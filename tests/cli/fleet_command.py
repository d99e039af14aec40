"""The fleet's tasks in this process, as a user types them, against simulated providers on a clock that stands still."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from fleet.simulators.bodies.open import open_bodies
from fleet.simulators.bodies.state import State
from fleet.simulators.clock import VirtualClock
from fleet.simulators.server import running
from tests.cli.plan_command import KEYS, Answer, typed

TOKEN = "hf_" + "Q7w8E9r1T2y3U4i5O6p7A8s9D1f2G3h4J5"  # planted, and grepped for
# What the image's run script would print, as far as the fleet reads it.
TRAINS = (
    """sh -c 'echo "run: run folder /workspace/runs/x"; for n in 1 2 3; do """
    """echo "{\\"event\\": \\"step\\", \\"step\\": $n, \\"loss\\": 3.5, \\"time\\": 1790000000}"; done; """
    """echo "{\\"event\\": \\"save\\", \\"step\\": 3}"; exec sleep 600'"""
)


@dataclass
class Stage:
    """urls: of the simulators; folder: where the user is."""

    urls: dict[str, str]
    folder: Path
    state: Path
    capsys: pytest.CaptureFixture[str]

    @property
    def books(self) -> Path:
        """Where the ledger is: a rehearsal's, unless nothing is simulated."""
        return self.state / "rehearsal" if self.urls else self.state

    def __call__(self, *words: str) -> Answer:
        return typed(self.capsys, *words)

    def json(self, *words: str) -> Any:
        """A task that must succeed."""
        said = self(*words, "--json")
        assert said.code == 0, said.err
        return json.loads(said.out)

    def truth(self, provider: str) -> list[dict[str, Any]]:
        """Every machine that ever was at a provider, by its simulator's own books."""
        answer = requests.get(f"{self.urls[provider]}/_sim/rentals", timeout=10)
        answer.raise_for_status()
        found: Any = answer.json()
        return list(found["rentals"] if isinstance(found, dict) else found)

    def sim(self, provider: str, what: str, **body: Any) -> Any:
        """The simulator's side channel."""
        answer = requests.post(f"{self.urls[provider]}/_sim/{what}", json=body, timeout=10)
        answer.raise_for_status()
        return answer.json()


@contextmanager
def staged(
    folder: Path,
    state: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    providers: tuple[str, ...] = ("runpod", "vast"),
    bodies: str = "none",
) -> Iterator[Stage]:
    """A user in an empty folder, with keys of these providers, and nothing else of the machine's environment."""
    import importlib

    for name in (*KEYS, "STOKER_PROFILE", "STOKER_REMOTE", "HF_TOKEN", "WANDB_API_KEY", "PUBLIC_KEY"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("STOKER_HOME", str(state))
    monkeypatch.setenv("COLUMNS", "140")
    kept, clock = State(folder / "simulated"), VirtualClock()
    held = open_bodies(bodies, kept, TRAINS)
    sites = [importlib.import_module(f"fleet.simulators.{name}.site").open_site(clock, held) for name in providers]
    with running(sites) as urls:
        for name in providers:
            monkeypatch.setenv(f"{name.upper()}_API_KEY", f"key-of-{name}-0123456789abcdef0123456789abcdef")
            monkeypatch.setenv(f"STOKER_{name.upper()}_URL", urls[name])
        monkeypatch.setenv("STOKER_CLOCK", urls["clock"])
        yield Stage(urls, folder, state, capsys)
