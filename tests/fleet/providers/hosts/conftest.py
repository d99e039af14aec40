"""A rented machine for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fleet.providers.hosts.rented_machine import Machine
from tests.fleet.providers.hosts.rented_machine import machine as running


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    with running(tmp_path / "machine") as made:
        yield made
