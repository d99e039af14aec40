"""The three markets, on loopback; at the end of each test none of them has seen a request that it would not take."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from fleet.wire.keys import Key
from fleet.wire.line import Line
from tests.fleet.offers import market
from tests.fleet.offers.market import KEY, Market, VastStock

PARTS = {
    "runpod": (market.runpod_rules, market.runpod_catalogue),
    "vast": (market.vast_rules, VastStock()),
    "hyperbolic": (market.hyperbolic_rules, market.hyperbolic_options),
}


@pytest.fixture
def markets(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Market]]:
    """All three, and the environment that points to them."""
    running = {name: Market(*parts) for name, parts in PARTS.items()}
    running["vast"].normal = VastStock()
    for name, each in running.items():
        monkeypatch.setenv(f"STOKER_{name.upper()}_URL", each.url)
    yield running
    for each in running.values():
        each.close()
    assert {name: each.broken_rules for name, each in running.items() if each.broken_rules} == {}


@pytest.fixture
def line(markets: dict[str, Market]) -> Callable[..., Line]:
    """A transport to one of them that does not really wait; its pauses are in `slept`."""

    def make(provider: str, key: str = KEY, deadline: float = 10.0) -> Line:
        slept: list[float] = []
        made = Line(provider, key, deadline, sleep=slept.append)
        make.slept = slept
        return made

    return make


@pytest.fixture
def keys() -> dict[str, Key]:
    return {name: Key(name, KEY, "a test") for name in PARTS}
