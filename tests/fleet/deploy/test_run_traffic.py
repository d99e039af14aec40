"""Bytes cost money at some hosts: a budget is for them too, and what becomes hours is what they leave."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from fleet.capacity.figure import Figure
from fleet.deploy import traffic
from fleet.deploy.candidates import price
from fleet.deploy.container import recipe
from fleet.deploy.deployment import assemble
from fleet.deploy.limits import bounded
from fleet.deploy.market import market
from fleet.deploy.needs import Needs, needs_of
from fleet.deploy.training import Estimate
from fleet.deploy.wishes import Wishes
from fleet.ledger.values import Limits
from fleet.offers.offer import INTERRUPTIBLE
from profiles.errors import WrongInput
from profiles.load import load
from tests.fleet.deploy.shelf import IMAGE, Stall, Tick, an_offer, priced

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
NEEDS = Needs(("h100-sxm",), 8, disk_gb=50, pulled_gb=10.0)


def planned(usd: float, high: float) -> Estimate:
    return Estimate("fits", traffic=Figure(usd, "USD", "a test", usd, high))


def test_the_image_is_pulled_once_at_the_hosts_price():
    assert price(an_offer(), NEEDS, Wishes()).traffic_usd == Decimal("0.03")
    assert price(an_offer(kind=INTERRUPTIBLE), NEEDS, Wishes(spot=True)).traffic_usd == Decimal("0.03")
    assert price(an_offer(down_price=0.0), NEEDS, Wishes()).traffic_usd == 0
    assert price(an_offer(down_price=None), NEEDS, Wishes()).traffic_usd == 0  # not told


def test_a_plan_knows_the_data_and_the_checkpoints_too_and_its_high_end_counts():
    one = replace(price(an_offer(), NEEDS, Wishes()), estimate=planned(0.4, 0.5))
    assert one.traffic_usd == Decimal("0.5")
    assert one.to_json()["traffic_usd"] == "0.5"
    assert traffic.what(one) == "the image 0.03 USD, data and checkpoints 0.47 USD"


def test_a_budget_buys_hours_with_what_the_traffic_leaves():
    first, wishes = priced(an_offer(), pull_usd=Decimal("2")), Wishes(usd=Decimal("34"))
    made = bounded(traffic.set_aside(wishes, first), first, Decimal("20"))
    assert made.limits.usd == Decimal("32") and made.limits.hours == 2.0
    [note] = traffic.notes(wishes, first)
    assert note == "of --budget 34.00, 2.00 USD are set aside for traffic: the image 2.00 USD"
    assert traffic.whole(made.limits, first).usd == Decimal("34")


def test_the_ledger_keeps_what_was_set_aside_and_what_every_machine_pulls():
    profile = load("h100-fp8")
    needs = replace(needs_of(profile, disk_bytes=100e9), pulled_gb=20.0)
    wishes = Wishes(usd=Decimal("34"), remote="hf://me/x/night")
    found = market({"vast": Stall("vast", [an_offer(down_price=0.1)])}, needs, wishes, None, Tick())
    made = assemble(profile, IMAGE, needs, found, wishes, name="night", held={})
    plan = made.run().plan
    assert plan["traffic"] == {"aside_usd": "2.0", "rest_usd": "0.0", "budget_usd": "32.00"}
    assert plan["needs"]["pulled_gb"] == 20.0 and made.run().limits.usd == Decimal("32.00")


def test_without_a_budget_it_is_told_beside_the_hours():
    first = priced(an_offer(), pull_usd=Decimal("0.03"))
    assert traffic.set_aside(Wishes(hours=2.0), first) == Wishes(hours=2.0)
    assert traffic.notes(Wishes(hours=2.0), first)[0].startswith("0.03 USD of traffic come on top")
    assert traffic.notes(Wishes(), priced(an_offer())) == []


def test_a_budget_that_the_traffic_takes_is_refused():
    with pytest.raises(WrongInput, match=r"the traffic alone costs 2\.00 USD at vast"):
        traffic.set_aside(Wishes(usd=Decimal("1.5")), priced(an_offer(), pull_usd=Decimal("2")))


def test_a_machine_with_dearer_traffic_than_the_first_trains_for_less():
    limits = Limits(usd=Decimal("32"))
    made = recipe(load("h100-fp8"), "night", IMAGE, NEEDS, limits, traffic=Decimal("2"))
    first = made.on(priced(an_offer(), pull_usd=Decimal("2")), NOW).env
    dearer = made.on(priced(an_offer(), pull_usd=Decimal("18")), NOW).env
    assert first["STOKER_DOLLARS"] == "32.0000" and dearer["STOKER_DOLLARS"] == "16.0000"
    assert int(first["STOKER_DEADLINE"]) - int(NOW.timestamp()) == 7200
    assert int(dearer["STOKER_DEADLINE"]) - int(NOW.timestamp()) == 3600
    assert made.on_top(Limits(hours=1.0), priced(an_offer(), pull_usd=Decimal("18"))) == Limits(hours=1.0)
