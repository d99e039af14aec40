"""Hyperbolic on loopback, as far as a client can see it, and a client with a clock that does not wait."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fleet.providers.hyperbolic.client import Hyperbolic
from tests.fleet.offers.market import KEY, Market
from tests.fleet.providers.hyperbolic.rental_office import Office


class Stopwatch:
    """Time that passes only when somebody sleeps."""

    def __init__(self) -> None:
        self.at = datetime(2026, 11, 20, 10, tzinfo=UTC)

    def now(self) -> datetime:
        return self.at

    def sleep(self, seconds: float) -> None:
        self.at += timedelta(seconds=max(0.0, seconds))


@pytest.fixture
def office() -> Iterator[Office]:
    made = Office()
    made.market = Market(made.rules, made.answer)
    yield made
    made.market.close()
    assert made.market.broken_rules == []


@pytest.fixture
def stopwatch() -> Stopwatch:
    return Stopwatch()


@pytest.fixture
def client(office: Office, stopwatch: Stopwatch, tmp_path: Path) -> Callable[..., Hyperbolic]:
    def make(key: str = KEY, **environ: str) -> Hyperbolic:
        return Hyperbolic(key, tmp_path / "state", stopwatch, {"STOKER_HYPERBOLIC_URL": office.market.url, **environ})

    return make
