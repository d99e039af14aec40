"""A night for every test, in memory where there is such a folder: what is tested is not the disk's speed."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fleet.resume.night import Night

MEMORY = Path("/dev/shm")


@pytest.fixture
def night(tmp_path: Path) -> Iterator[Night]:
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else tmp_path) as folder:
        made = Night(Path(folder))
        yield made
        made.ledger.shut()
