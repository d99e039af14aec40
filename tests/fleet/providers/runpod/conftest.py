"""An account on loopback and a client with its key; at the end nothing was said that the API does not document."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from fleet.offers.offer import ON_DEMAND, Offer
from fleet.providers.runpod.client import RunPod
from fleet.providers.values import Container, Login, Order, Template
from tests.fleet.providers.runpod.account import KEY, Account

TOKEN = "hf_token-that-must-never-be-shown-91c4"
PASSWORD = "registry-password-never-shown-77aa"
DIGEST = "sha256:" + "0" * 64


class Hours:
    """A clock whose nights pass at once."""

    def __init__(self) -> None:
        self.time = datetime(2026, 11, 21, 12, tzinfo=UTC)
        self.slept: list[float] = []

    def now(self) -> datetime:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.time += timedelta(seconds=seconds)


@pytest.fixture
def account() -> Iterator[Account]:
    running = Account()
    yield running
    running.close()
    assert running.wrong == []


@pytest.fixture
def hours() -> Hours:
    return Hours()


@pytest.fixture
def client(account: Account, hours: Hours, tmp_path: Path) -> RunPod:
    return RunPod(KEY, tmp_path, hours, {"STOKER_RUNPOD_URL": account.url})


@pytest.fixture
def container() -> Callable[..., Container]:
    def make(**changed: Any) -> Container:
        values: dict[str, Any] = {
            "name": "Nano GPT",
            "image": f"registry.example/team/train@{DIGEST}",
            "command": ("run", "--seed", "it's 7"),
            "env": {"OMP_NUM_THREADS": "8", "STOKER_RUN": "run", "STOKER_REMOTE": "s3://bucket/run"},
            "secrets": {"HF_TOKEN": TOKEN},
            "disk_gb": 60,
            "cuda": "12.9",
        }
        return Container(**{**values, **changed})

    return make


@pytest.fixture
def offer() -> Callable[..., Offer]:
    def make(**changed: Any) -> Offer:
        values: dict[str, Any] = {
            "provider": "runpod",
            "gpu": "h100-sxm",
            "count": 2,
            "price": 2.99,
            "kind": ON_DEMAND,
            "id": "NVIDIA H100 80GB HBM3/2/secure/US-KS-2",
            "seen": "2026-11-21T12:00:00+00:00",
            "region": "US-KS-2",
            "name": "NVIDIA H100 80GB HBM3",
            "tier": "secure",
        }
        return Offer(**{**values, **changed})

    return make


@pytest.fixture
def order(container: Callable[..., Container], offer: Callable[..., Offer]) -> Callable[..., Order]:
    def make(template: Template | None = None, tag: str = "stk-ab12-run-0a1b2c3d", **changed: Any) -> Order:
        return Order(tag, changed.pop("offer", offer()), container(**changed), Decimal(9), template=template)

    return make


@pytest.fixture
def login() -> Login:
    return Login("registry.example", "team", PASSWORD)
