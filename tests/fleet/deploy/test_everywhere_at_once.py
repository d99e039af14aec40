"""All providers are asked at once; one that fails, hangs or answers nonsense costs its own rows alone."""

from __future__ import annotations

import threading
from decimal import Decimal

import pytest

from fleet.deploy import everywhere
from fleet.deploy.balances import balances
from fleet.deploy.market import market
from fleet.deploy.needs import needs_of
from fleet.deploy.wishes import Wishes
from profiles.errors import CheckFailed, OutsideFailed
from profiles.load import load
from tests.fleet.deploy.shelf import Stall, Tick, an_offer

NEEDS = needs_of(load("h100-fp8"), disk_bytes=100e9)


def test_calls_run_beside_each_other():
    """Each waits for the two others: one after the other, none would come back."""
    meeting = threading.Barrier(3, timeout=10)
    heard = everywhere.each(dict.fromkeys("abc", meeting.wait))
    assert sorted(heard.results.values()) == [0, 1, 2] and not heard.failures


def test_one_that_hangs_is_told_and_the_others_count():
    never = threading.Event()
    heard = everywhere.each({"slow": lambda: never.wait(30), "quick": lambda: True}, deadline=0.3)
    never.set()
    assert heard.results == {"quick": True}
    assert heard.failures["slow"].startswith("slow: no answer within")


def test_a_mistake_of_ours_tells_no_secret():
    def broken() -> None:
        raise KeyError("key-of-somebody")

    failure = everywhere.each({"vast": broken}).failures["vast"]
    assert "KeyError" in failure and "somebody" not in failure


def test_a_provider_that_is_down_leaves_the_others_offers_and_a_warning():
    there = Stall("vast", [an_offer()])
    found = market({"vast": there, "runpod": Stall("runpod", down=True)}, NEEDS, Wishes(), None, Tick())
    assert [one.offer.provider for one in found.ranked] == ["vast"]
    assert "runpod: 503" in found.failures["runpod"]
    found.refuse_empty()


def test_when_all_are_down_that_is_the_error_and_not_that_nothing_fits():
    found = market({"runpod": Stall("runpod", down=True)}, NEEDS, Wishes(), None, Tick())
    with pytest.raises(OutsideFailed, match="runpod: 503"):
        found.refuse_empty()


def test_when_nothing_will_do_everything_is_asked_for_once_more_to_say_why():
    there = Stall("vast", [an_offer(count=4), an_offer(id="2", gpu="rtx4090")])
    found = market({"vast": there}, NEEDS, Wishes(), None, Tick())
    assert len(there.asked) == 2 and len(found.sifted.dropped) == 2
    with pytest.raises(CheckFailed, match="tight constraint is the GPU count") as refused:
        found.refuse_empty()
    assert refused.value.next_step == "--gpu-count 4"


def test_an_image_that_fits_on_no_disk_is_told_as_such():
    big = needs_of(load("h100-fp8"), disk_bytes=9000e9)
    found = market({"vast": Stall("vast", [an_offer()])}, big, Wishes(), None, Tick())
    with pytest.raises(CheckFailed, match="2,000 GB of disk, 9,000 GB are needed"):
        found.refuse_empty()


def test_balances_are_a_row_each_and_untold_is_not_nothing():
    rows = balances({"vast": Stall("vast", credit=Decimal("12.5")), "runpod": Stall("runpod", credit=None)})
    assert [(row["provider"], row["usd"], row["failed"]) for row in rows] == [
        ("vast", "12.50", False),
        ("runpod", None, False),
    ]
