"""A container is told whose machine it is on, so that its keeper can end that one; in a rehearsal, where to ask."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from fleet.deploy.again import as_ordered
from fleet.deploy.candidates import Priced
from fleet.deploy.container import recipe, stored
from fleet.deploy.needs import needs_of
from fleet.deploy.place import placed
from fleet.ledger.values import SENT, Attempt, Limits, Run
from fleet.resume.again import container
from profiles.errors import WrongInput
from profiles.load import load
from tests.fleet.deploy.shelf import IMAGE, an_offer

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
PROFILE = load("h100-fp8")
HERE = "http://127.0.0.1:4711"
ELSEWHERE = "http://127.0.0.1:815"
WHERE = ("STOKER_PROVIDER", "STOKER_PROVIDER_URL", "STOKER_CLOCK")


def where(env: dict[str, str]) -> tuple[str | None, ...]:
    return tuple(env.get(name) for name in WHERE)


def on(offer=None):
    made = recipe(PROFILE, "night", IMAGE, needs_of(PROFILE), Limits(hours=3.0))
    return made.on(Priced(offer or an_offer(), Decimal("16.04"), 200), NOW)


@pytest.mark.parametrize("provider", ["runpod", "vast", "hyperbolic", "local"])
def test_it_is_told_whose_machine_it_is(provider: str):
    assert where(placed({"A": "b"}, provider, {})) == (provider, None, None)
    assert placed({"A": "b"}, provider, {})["A"] == "b"


def test_a_rehearsal_s_provider_and_time_are_found_by_the_container_too(monkeypatch):
    name = an_offer().provider
    monkeypatch.setenv(f"STOKER_{name.upper()}_URL", HERE + "/")
    monkeypatch.setenv("STOKER_CLOCK", ELSEWHERE)
    assert where(on().env) == (name, HERE, ELSEWHERE)
    assert where(placed({}, "local")) == ("local", None, ELSEWHERE)


def test_an_address_that_is_not_on_this_machine_is_ours_alone():
    environ = {"STOKER_RUNPOD_URL": "https://proxy.example", "STOKER_CLOCK": "http://clock.example"}
    assert where(placed({}, "runpod", environ)) == ("runpod", None, None)
    with pytest.raises(WrongInput):
        placed({}, "runpod", {"STOKER_RUNPOD_URL": "http://proxy.example"})


def test_what_an_earlier_machine_was_told_is_forgotten_on_the_next():
    before = {"STOKER_PROVIDER": "vast", "STOKER_PROVIDER_URL": HERE, "STOKER_CLOCK": HERE, "A": "b"}
    assert placed(before, "runpod", {}) == {"STOKER_PROVIDER": "runpod", "A": "b"}


def test_an_order_that_is_gone_on_with_and_a_resume_say_the_machine_s_own_provider(monkeypatch):
    monkeypatch.setenv("STOKER_RUNPOD_URL", HERE)
    first = an_offer()
    run = Run("night", "h100-fp8", IMAGE.reference, plan={"container": stored(on(first))}, limits=Limits(hours=3.0))
    offer = replace(first, provider="vast")
    order = Attempt("t", 1, "night", "vast", offer, Decimal(2), Decimal(3), "", SENT, NOW)
    assert where(as_ordered(run, order, {}, None).env) == ("vast", None, None)
    assert where(container(run, offer, Decimal(2), {}, None, NOW, 3.0).env) == ("vast", None, None)
