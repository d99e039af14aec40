"""The deadline of a machine is by what is left of the run's limits, also when a deploy that died is gone on with."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest

from fleet.deploy.again import go_on
from fleet.deploy.deploy import launched
from fleet.launch.candidate import Candidate
from fleet.providers.values import Container, Instance
from tests.fleet.launch.model_world import IMAGE, Killed, container
from tests.fleet.resume.night import Night, Place

USED, LIMIT = 2.0, 5.0  # hours


@pytest.fixture
def boxes(monkeypatch: pytest.MonkeyPatch) -> list[Container]:
    """The containers that machines were given, as they were settled in."""
    seen: list[Container] = []
    monkeypatch.setattr(Place, "settle_in", lambda self, instance, box, tag: seen.append(box))
    return seen


def used(night: Night) -> None:
    """A run that a machine was rented for, for two of its five hours."""
    night.limits = replace(night.limits, hours=LIMIT, usd=None)
    night.run()
    night.dies(night.train(minutes=USED * 60), None)
    from fleet.resume.resume import resume

    night.places["vast"].world.die = "after launch"
    with pytest.raises(Killed):
        resume(night.comeback(), "night")
    night.reboot()


def left(night: Night, box: Container) -> float:
    return (float(box.env["STOKER_DEADLINE"]) - night.clock.time.timestamp()) / 3600


def test_a_deploy_that_is_gone_on_with_has_what_earlier_machines_left(night: Night, boxes: list[Container]):
    used(night)
    boxes.clear()
    run = night.ledger.run("night")
    go_on(
        night.ledger, run, dict(night.places), {"HF_TOKEN": "hf_x"}, None, night.clock, night.said.append,
        ready=lambda provider, instance: "",
    )  # fmt: skip
    assert LIMIT - USED - 0.2 < left(night, boxes[-1]) <= LIMIT - USED


def test_a_deploy_of_a_run_that_had_a_machine_too(night: Night, monkeypatch: pytest.MonkeyPatch):
    used(night)
    given: list[Candidate] = []

    def launch(ledger: Any, wish: Any, candidates: list[Candidate], *more: Any) -> Instance:
        given.extend(candidates)
        raise Killed

    monkeypatch.setattr("fleet.launch.launch.launch", launch)
    place, box = night.places["vast"], container("night")
    whole = replace(box, env={**box.env, "STOKER_DEADLINE": "9999999999"})
    offered = Candidate(place, place.shelf[0], whole)
    made: Any = SimpleNamespace(
        name="night", image=SimpleNamespace(size=1, reference=IMAGE), usd_hour=Decimal(3),
        recipe=SimpleNamespace(on_top=lambda limits, priced: limits),
        tried=(SimpleNamespace(usd_hour=Decimal(2)),), candidates=lambda providers, now: [offered],
    )  # fmt: skip
    wish = night.ledger.wish("night", "deploy, again")
    with pytest.raises(Killed):
        launched(made, night.ledger, wish, dict(night.places), night.clock, print, lambda *_: "", None)
    assert LIMIT - USED - 0.2 < left(night, given[0].container) <= LIMIT - USED
