"""What providers tell beside the price of the GPUs: storage, traffic, disk, and bids."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fleet.offers.ask import Answer as Asked
from fleet.offers.offer import INTERRUPTIBLE, ON_DEMAND, Offer
from tests.cli.plan_command import Command

WORDS = ("--preset", "d24", "--gpu", "h100-sxm", "--gpu-count", "8", "--zero", "0", "--checkpointing", "none")
OFFER = Offer("vast", "h100-sxm", 8, 2.0, ON_DEMAND, "1", "2026-11-21T14:02:00+00:00", disk_gb=4000.0)
DEAR = replace(OFFER, price=3.0, disk_price=9.0, up_price=9.0, down_price=9.0)


@pytest.fixture
def offered(monkeypatch: pytest.MonkeyPatch):
    """Puts offers on the market."""

    def put(*offers: Offer) -> None:
        monkeypatch.setenv("VAST_API_KEY", "a-key")
        monkeypatch.setattr("fleet.offers.current.current", lambda *words, **more: Asked(offers))

    return put


def test_storage_and_traffic_of_the_cheapest_offer_are_paid(plan: Command, offered):
    offered(DEAR, replace(OFFER, disk_price=0.15, up_price=0.005, down_price=0.003))
    bill = plan(*WORDS, "--json").document["chosen"]["bill"]
    parts = bill["dollar_parts"]
    storage = 0.15 * bill["disk"]["total"] / 1e9 * bill["hours"]["value"] / 720
    assert parts["storage"]["value"] == pytest.approx(storage, rel=1e-3) and storage > 0.01
    assert parts["traffic"]["value"] > 0.005 * bill["checkpoint"]["value"] / 1e9
    assert "0.15 USD per GB" in parts["storage"]["source"]
    assert sum(part["value"] for part in parts.values()) == pytest.approx(bill["dollars"]["value"])


def test_with_a_price_typed_in_nothing_is_known_of_storage_and_one_note_says_so(plan: Command):
    found = plan(*WORDS, "--price", "2", "--json").document
    assert found["chosen"]["bill"]["dollar_parts"]["storage"]["value"] == 0
    assert len([note for note in found["notes"] if "storage and traffic" in note]) == 1


def test_offers_whose_disk_is_too_small_price_nothing_and_are_told(plan: Command, offered):
    offered(replace(OFFER, price=1.0, disk_gb=20.0), OFFER)
    found = plan(*WORDS, "--json").document
    assert found["chosen"]["price"]["value"] == 2.0
    assert any("GB of disk" in note and note.endswith(": 1") for note in found["notes"])
    assert not any("storage and traffic" in note for note in found["notes"])


def test_a_disk_too_small_for_what_a_budget_buys_is_warned_of(plan: Command, offered):
    offered(replace(OFFER, disk_gb=120.0))
    found = plan(*WORDS, "--budget", "20000", "--json").document
    assert found["chosen"]["bill"]["disk"]["total"] > 120e9
    assert any("GB" in line and "has 120" in line for line in found["warnings"])


def test_spot_bids_more_than_the_least_and_is_interrupted_as_spot(plan: Command, offered):
    offered(OFFER, *(replace(OFFER, price=price, kind=INTERRUPTIBLE) for price in (0.8, 1.0, 1.4)))
    found = plan(*WORDS, "--spot", "--json").document["chosen"]
    assert (found["price"]["value"], found["price"]["low"]) == (1.0, 0.8)
    assert "median of the least bids" in found["price"]["source"]
    assert "spot: a machine is taken away" in found["bill"]["mtbf"]["source"]
