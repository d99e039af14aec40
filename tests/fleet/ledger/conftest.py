"""A ledger in a folder of its own, with a clock that the test moves."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fleet.ledger.ledger import Ledger
from fleet.ledger.opening import open_ledger


class HandClock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.time = datetime(2026, 11, 21, 10, tzinfo=UTC)

    def now(self) -> datetime:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)


@pytest.fixture
def hand() -> HandClock:
    return HandClock()


@pytest.fixture
def ledger(tmp_path: Path, hand: HandClock) -> Iterator[Ledger]:
    with open_ledger(tmp_path, hand) as opened:
        yield opened
