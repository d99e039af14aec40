"""Each offer is kept, or dropped with one reason; when none is left, the tight constraint is named."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from fleet.deploy.filter import in_region, sift, step, tightest
from fleet.deploy.needs import Needs, needs_of
from fleet.deploy.wishes import Wishes
from fleet.offers.offer import INTERRUPTIBLE, Offer
from profiles.load import load
from tests.fleet.deploy.shelf import an_offer

NEEDS = needs_of(load("h100-fp8"), disk_bytes=100e9)


def why(offer: Offer, wishes: Wishes | None = None, needs: Needs = NEEDS, **more: Any) -> str:
    found = sift([offer], needs, wishes or Wishes(), **more)
    return found.dropped[0].why if found.dropped else ""


def test_one_that_will_do_is_kept():
    assert why(an_offer()) == ""


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"gpu": "a100-80-sxm"}, "a100-80-sxm, not h100-sxm"),
        ({"count": 4}, "4 GPUs, not 8"),
        ({"nvlink_gbs": 0.0}, "not joined by NVLink"),
        ({"driver": "550.54.14"}, "driver 550.54.14, the image's base needs R575"),
        ({"driver": "", "cuda": "12.4"}, "takes CUDA 12.4, the image's base needs 12.9"),
        ({"disk_gb": 150.0}, "150 GB of disk, 200 GB are needed"),
        ({"stock": "0"}, "none is free now"),
        ({"kind": INTERRUPTIBLE}, "can be taken away"),
        ({"reliability": 0.85}, "reliability 0.850, at least 0.9"),
    ],
)
def test_another_is_dropped_with_the_reason(changed: dict[str, Any], words: str):
    assert words in why(an_offer(**changed))


def test_a_data_centre_driver_of_an_older_branch_does_with_the_image_s_compat_libraries():
    assert why(an_offer(driver="535.183.06")) == ""


@pytest.mark.parametrize("name", ["disk_gb", "ram_gb", "nvlink_gbs", "reliability", "hours"])
def test_what_is_not_told_is_no_reason(name: str):
    assert why(an_offer(**{name: None})) == ""
    assert why(an_offer(driver="", cuda="")) == ""


def test_a_machine_that_failed_before_is_left_out():
    assert "failed here before" in why(an_offer(), bad={"vast": {"88888"}})
    assert why(an_offer(), bad={"runpod": {"88888"}}) == ""


def test_a_price_is_of_the_whole_machine_with_its_disk():
    """8 x 2.00 + 200 GB x 0.15 / 720 = 16.0417."""
    assert why(an_offer(), Wishes(usd_hour=Decimal("16.05"))) == ""
    assert "16.04 USD/h with its disk, above 16.04" in why(an_offer(), Wishes(usd_hour=Decimal("16.04")))


def test_an_account_without_an_hour_of_credit_is_no_place():
    assert "3.00 USD of credit are left there" in why(an_offer(), credit={"vast": Decimal(3)})
    assert why(an_offer(), credit={"runpod": Decimal(0)}) == ""


@pytest.mark.parametrize(
    ("region", "wanted", "there"),
    [
        ("US-KS-2", "US", True),
        ("US-KS-2", "us-ks-2", True),
        ("US-KS-2", "US-KS", True),
        ("USA-1", "US", False),
        ("SE", "DE", False),
        ("", "US", False),
    ],
)
def test_a_region_is_a_whole_word_or_the_beginning_of_one(region: str, wanted: str, there: bool):
    assert in_region(an_offer(region=region), (wanted,)) is there


def test_when_the_price_alone_is_in_the_way_it_says_what_would_do():
    offers = [an_offer(price=2.49), an_offer(id="2", price=3.0), an_offer(id="3", gpu="a100-80-sxm", price=1.0)]
    found = sift(offers, NEEDS, Wishes(usd_hour=Decimal(16)))
    assert "the tight constraint is the price: nearest is 8 x h100-sxm at vast, SE, 19.92 USD/h" in tightest(found)
    assert step(found) == "--max-price 19.97"
    again = sift(offers, NEEDS, Wishes(usd_hour=Decimal(step(found).removeprefix("--max-price "))))
    assert [one.price for one in again.kept] == [2.49]


def test_when_two_are_in_the_way_it_names_both():
    found = sift([an_offer(price=3.0, region="SE")], NEEDS, Wishes(usd_hour=Decimal(16), regions=("US",)))
    assert "the tight constraints are the region and price" in tightest(found)
    assert step(found) == "--region SE --max-price 24.05"


def test_when_nothing_could_be_typed_it_does_not_pretend():
    found = sift([an_offer(disk_gb=10.0)], NEEDS, Wishes())
    assert "the tight constraint is the disk" in tightest(found)
    assert "--provider any" in step(found)


def test_no_offers_at_all_are_told_as_such():
    assert tightest(sift([], NEEDS, Wishes())) == "no provider has any offer"


@given(
    some.lists(
        some.builds(
            an_offer,
            gpu=some.sampled_from(["h100-sxm", "a100-80-sxm", "rtx4090"]),
            count=some.sampled_from([1, 4, 8]),
            price=some.floats(0.1, 20),
            disk_gb=some.one_of(some.none(), some.floats(1, 4000)),
            region=some.sampled_from(["", "SE", "US-KS-2"]),
            driver=some.sampled_from(["", "535.183.06", "550.54.14", "garbage"]),
            kind=some.sampled_from(["on-demand", "interruptible"]),
        ),
        max_size=12,
    ),
    some.booleans(),
    some.one_of(some.none(), some.decimals(1, 100, places=2)),
)
def test_every_offer_is_either_kept_or_dropped_and_relaxing_as_told_lets_one_pass(
    offers: list[Offer], spot: bool, most: Decimal | None
):
    wishes = Wishes(spot=spot, usd_hour=most, regions=("SE",))
    found = sift(offers, NEEDS, wishes)
    assert len(found.kept) + len(found.dropped) == len(offers)
    assert all(row.failures and row.why for row in found.dropped)
    if found.kept or not found.dropped:
        return
    words = step(found)
    assert tightest(found) and words
    if not words.startswith("--"):
        return
    typed = words.split()
    told = dict(zip(typed[::2], typed[1::2], strict=False)) if "--spot" not in typed else {}
    if "--max-price" in told:
        wishes = replace(wishes, usd_hour=Decimal(told["--max-price"]))
    if "--region" in told:
        wishes = replace(wishes, regions=(told["--region"],))
    needs = replace(NEEDS, count=int(told.get("--gpu-count", NEEDS.count)))
    if set(told) <= {"--max-price", "--region", "--gpu-count"} and told:
        assert sift(offers, needs, wishes).kept
