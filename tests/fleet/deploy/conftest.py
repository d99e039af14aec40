"""A ledger and a clock that stands still, for what is decided by them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet.ledger.ledger import Ledger
from fleet.ledger.opening import open_ledger
from tests.fleet.deploy.shelf import Tick


@pytest.fixture
def clock() -> Tick:
    return Tick()


@pytest.fixture
def ledger(tmp_path: Path, clock: Tick) -> Iterator[Ledger]:
    with open_ledger(tmp_path, clock) as opened:
        yield opened
