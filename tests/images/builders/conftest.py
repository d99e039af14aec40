"""An engine to build in, and images small enough to build often."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from images.builders.engine import Engine, connect


@pytest.fixture(scope="session")
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """The engine that DOCKER_HOST names, or one of the tests' own."""
    from profiles.errors import OutsideFailed

    if given := os.environ.get("STOKER_TEST_DOCKER_HOST"):
        try:
            yield connect(given)
            return
        except OutsideFailed:
            pass
    yield connect(request.getfixturevalue("docker_host"))
