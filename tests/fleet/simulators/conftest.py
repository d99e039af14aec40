"""Simulators on loopback, each test's own, with a clock that stands still until somebody sleeps."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fleet.simulators.bodies.nothing import NoBodies
from fleet.simulators.clock import VirtualClock
from fleet.simulators.runpod.site import open_site
from fleet.simulators.server import running
from fleet.simulators.site import Site
from tests.fleet.simulators.talking import Talk


@pytest.fixture
def runpod_site() -> Iterator[Site]:
    """RunPod, served; a bug of its own fails the test."""
    site = open_site(VirtualClock(), NoBodies())
    with running([site]):
        yield site
    assert site.crashes == []


@pytest.fixture
def runpod(runpod_site: Site) -> Talk:
    return Talk(runpod_site.url)
