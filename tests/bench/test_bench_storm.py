"""The market in which a run is preempted: capacity moves about with the losses, and what is lost had saved before."""

from __future__ import annotations

import time
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from threading import Thread

from bench.rows.fleet_sites import NAMES, Served, served
from bench.rows.fleet_storm import Storm, missed
from fleet.clock import SimulatedClock
from fleet.ledger.tags import fresh
from fleet.offers.offer import Question
from fleet.providers.catalogue import open_provider
from fleet.providers.outcomes import NotCreated
from fleet.providers.provider import Provider
from fleet.providers.values import Container, Instance, Order


def renting(market: Served, folder: Path) -> list[tuple[Provider, Instance]]:
    """Who rents out a machine now, as our clients see it; it is rented then. A list may still show what is sold out."""
    clock, environ = SimulatedClock(market.urls["clock"]), market.environ(folder)
    asked = Question(gpus=("rtx4090", "h100-sxm"), counts=(1,), disk_gb=20, min_reliability=0.0)
    box, found = Container("storm", "a/b@sha256:" + "a" * 64, disk_gb=20), []
    for name in NAMES:
        shop = open_provider(name, folder / "state", environ, clock)
        for offer in shop.offers(asked, clock.now().isoformat()).offers[:1]:
            with suppress(NotCreated):
                found.append((shop, shop.launch(Order(fresh("aaaa", "storm"), offer, box, Decimal(20)))))
    return found


def until_lost(storm: Storm, count: int) -> None:
    end = time.monotonic() + 60
    while len(storm.lost) < count:
        assert time.monotonic() < end, "the storm never came"
        time.sleep(0.05)


def test_one_provider_has_machines_and_every_loss_changes_which(tmp_path: Path):
    saved = [0]
    with served() as market:
        urls = {name: market.urls[name] for name in NAMES}
        storm = Storm(urls, lambda: saved[0], most=3, seed=1)
        thread = Thread(target=storm.blow)
        thread.start()
        for count in (1, 2, 3):
            [(shop, machine)] = renting(market, tmp_path)
            market.clock.advance(600)
            time.sleep(0.5)  # the storm has looked, and nothing new is saved
            assert len(storm.lost) == count - 1
            saved[0] += 50
            until_lost(storm, count)
            assert storm.lost[-1] == (shop.name, machine.id, saved[0])
            shop.terminate(machine.id)  # one that was stopped is still there
        thread.join(60)
        assert sorted(name for name, _, _ in storm.lost) == sorted(NAMES) and not storm.broken
        assert [shop.name for shop, _ in renting(market, tmp_path)] == list(NAMES)  # the storm is over


def test_a_provider_that_lost_nothing_is_told():
    assert missed([("runpod", "a", 1), ("runpod", "b", 2)], ("runpod", "vast")) == ["vast"]
    assert missed([("runpod", "a", 1), ("vast", "b", 2)], ("runpod", "vast")) == []
    assert missed([("runpod", "a", 1)], ("runpod", "vast")) == []  # not enough of them for all
