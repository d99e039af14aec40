"""A simulated Vast.ai of a test's own, and short ways to ask it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import requests

from fleet.simulators.bodies.body import Bodies
from fleet.simulators.bodies.nothing import NoBodies
from fleet.simulators.clock import VirtualClock
from fleet.simulators.server import running
from fleet.simulators.truth import rentals
from fleet.simulators.vast.site import VastSite, open_site
from tests.fleet.providers.vast.published import watched
from tests.fleet.simulators.talking import Talk

IMAGE = "registry.example/team/train:7"


@dataclass
class Vast(Talk):
    """Talk with a few words more."""

    site: VastSite = None

    def offers(self, **wanted: Any) -> list[dict[str, Any]]:
        answer = self.ask("POST", "/api/v0/bundles/", wanted)
        assert answer.status_code == 200, answer.text
        return list(answer.json()["offers"])

    def rent(self, ask: int, **wanted: Any) -> requests.Response:
        body = {
            "client_id": "me",
            "image": IMAGE,
            "disk": 40,
            "label": "t-1",
            "runtype": "ssh_direc ssh_proxy",
            **wanted,
        }
        return self.ask("PUT", f"/api/v0/asks/{ask}/", body)

    def rented(self, ask: int, **wanted: Any) -> int:
        answer = self.rent(ask, **wanted)
        assert answer.status_code == 200, answer.text
        return int(answer.json()["new_contract"])

    def row(self, id: int) -> dict[str, Any] | None:
        found: dict[str, Any] | None = self.get(f"/api/v0/instances/{id}/")["instances"]
        return found

    def seen(self, id: int) -> dict[str, Any]:
        found = self.row(id)
        assert found is not None
        return found

    def later(self, seconds: float) -> None:
        self.site.world.clock.sleep(seconds)

    def faults(self, **knobs: Any) -> None:
        self.site.world.faults.set({name.replace("__", "."): table for name, table in knobs.items()})

    def truth(self) -> dict[str, Any]:
        return rentals(self.site.world)


@contextmanager
def simulated(
    bodies: Bodies | None = None,
    credit: Decimal = Decimal(1000),
    keys: Mapping[str, int] | None = None,
    limits: bool = False,
) -> Iterator[Vast]:
    """Served on loopback; afterwards it has not fallen over, and has answered as Vast's published file says."""
    site = open_site(VirtualClock(), bodies or NoBodies(), credit=credit, keys=keys, limits=limits)
    wrong = watched(site)
    with running([site]):
        yield Vast(site.url, site=site)
    assert (wrong, site.crashes) == ([], [])
