"""A small Vast per test; at its end it must have seen no request that the OpenAPI file does not take."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet.providers.vast.client import Vast
from tests.fleet.providers.vast.desk import Desk, Steps


@pytest.fixture
def desk() -> Iterator[Desk]:
    made = Desk()
    yield made
    made.market.close()
    wrong = [each for each in made.market.broken_rules if "GET /logs/" not in each]
    assert (wrong, made.wrong) == ([], [])


@pytest.fixture
def clock() -> Steps:
    return Steps()


@pytest.fixture
def vast(desk: Desk, clock: Steps, tmp_path: Path) -> Vast:
    return desk.client(tmp_path, clock)
