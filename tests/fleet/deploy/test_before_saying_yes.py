"""What is decided and told before anybody says yes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from fleet.deploy.deployment import Deployment, assemble
from fleet.deploy.market import market
from fleet.deploy.needs import needs_of
from fleet.deploy.wishes import Wishes
from fleet.offers.offer import INTERRUPTIBLE, Offer
from fleet.providers.values import Login
from profiles.errors import Refused
from profiles.load import load
from tests.fleet.deploy.shelf import IMAGE, Stall, Tick, an_offer

PROFILE = load("h100-fp8")
NEEDS = needs_of(PROFILE, disk_bytes=100e9)


def assembled(wishes: Wishes, *offers: Offer, **more: Any) -> Deployment:
    found = market({"vast": Stall("vast", list(offers))}, NEEDS, wishes, None, Tick())
    given = {"image": IMAGE, "name": "night", "held": {}, **more}
    return assemble(PROFILE, needs=NEEDS, market=found, wishes=wishes, **given)


def test_an_interruptible_machine_without_a_remote_store_is_refused():
    spot = an_offer(kind=INTERRUPTIBLE, price=1.0)
    with pytest.raises(Refused, match="everything on it is lost") as refused:
        assembled(Wishes(spot=True, hours=5.0), spot)
    assert "--remote" in refused.value.next_step
    made = assembled(Wishes(spot=True, hours=5.0, remote="hf://me/x/night"), spot)
    assert made.run().policy == "spot-then-on-demand" and made.first.bid is not None


def test_on_demand_without_a_remote_store_is_told():
    notes = " ".join(assembled(Wishes(hours=5.0), an_offer()).notes)
    assert "no remote store" in notes and "no public SSH key" in notes


def test_a_login_that_will_be_kept_at_the_provider_is_told_without_its_password():
    image = replace(IMAGE, login=Login("ghcr.io", "reader", "pass-that-is-planted"))
    made = assembled(Wishes(hours=5.0), an_offer(), image=image, held={"HF_TOKEN": "hf_planted"})
    assert any("your login at ghcr.io as reader is kept at the provider" in note for note in made.notes)
    assert "planted" not in f"{made} {made.to_json()} {made.run().plan}"


def test_machines_that_are_dearer_than_the_cap_are_not_among_those_that_are_tried():
    made = assembled(Wishes(hours=5.0), an_offer(), an_offer(id="2", price=2.2), an_offer(id="3", price=9.0))
    assert [one.offer.id for one in made.tried] == ["1001", "2"]
    assert all(one.usd_hour <= made.usd_hour for one in made.tried)
    assert made.recipe.limits.usd_hour == made.usd_hour
