"""Prices: from offers, with their source, and from what the user types."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as some

from fleet.offers.offer import INTERRUPTIBLE, ON_DEMAND, Offer
from fleet.offers.price import OVER, price, priced_by, roomy, typed
from profiles import gpus
from profiles.errors import WrongInput

OFFER = Offer("vast", "h100-sxm", 8, 2.0, ON_DEMAND, "1", "2026-11-21T14:02:00+00:00")
THREE = [replace(OFFER, price=value) for value in (2.5, 1.87, 2.1)]


def test_the_cheapest_says_who_how_many_and_when():
    figure = price(THREE, "h100-sxm", 8)
    assert figure.source == "vast, 3 offers, cheapest 1.87, seen 14:02"
    assert (figure.value, figure.low, figure.high, figure.unit) == (1.87, 1.87, 2.1, "USD/GPU-hour")


def bids(*least: float) -> list[Offer]:
    return [replace(OFFER, price=value, kind=INTERRUPTIBLE) for value in least]


def test_of_bids_the_median_counts_because_the_least_is_outbid_at_once():
    figure = price(bids(1.0, 2.0, 1.5), "h100-sxm", 8, kinds=(INTERRUPTIBLE,))
    assert (figure.value, figure.low, figure.high) == (1.5, 1.0, 2.0)
    assert figure.source == "vast, 3 offers, median of the least bids 1.50, least bid 1.00, seen 14:02"


def test_one_bid_alone_is_bid_over_and_the_source_says_how_far():
    figure = price(bids(1.0), "h100-sxm", 8, kinds=(INTERRUPTIBLE,))
    assert (figure.value, figure.low, figure.high) == (OVER, 1.0, OVER)
    assert "a bid of 1.1 x the least 1.10, least bid 1.00" in figure.source


@given(some.lists(some.floats(0.01, 100), min_size=1))
def test_a_bid_is_above_the_least_one_and_within_its_range(least):
    figure = price(bids(*least), "h100-sxm", 8, kinds=(INTERRUPTIBLE,))
    assert min(least) == figure.low < figure.value <= figure.high


def test_storage_and_traffic_are_those_of_the_offer_that_priced_the_machine():
    listed = [replace(OFFER, price=value, disk_price=value / 10) for value in (2.5, 1.87, 2.1)]
    assert priced_by(listed, "h100-sxm", 8).price == 1.87
    spot = [replace(offer, kind=INTERRUPTIBLE) for offer in listed]
    assert priced_by(spot, "h100-sxm", 8, (INTERRUPTIBLE,)).price == 2.1
    assert priced_by(listed, "b200", 8) is None


def test_an_offer_whose_disk_is_too_small_is_left_out_and_one_that_does_not_tell_stays():
    listed = [replace(OFFER, disk_gb=size) for size in (100.0, 300.0, None)]
    assert [offer.disk_gb for offer in roomy(listed, 200)] == [300.0, None]


def test_prices_of_other_counts_stand_in_and_say_so():
    figure = price([replace(OFFER, count=1), replace(OFFER, count=2, provider="runpod")], "h100-sxm", 8)
    assert figure.source == "runpod, vast, 2 offers of 1, 2 GPUs (none of 8), cheapest 2.00, seen 14:02"


def test_lists_of_several_days_tell_the_date_of_the_oldest():
    figure = price([OFFER, replace(OFFER, seen="2026-11-19T09:00:00+00:00")], "h100-sxm", 8)
    assert figure.source.endswith("seen 2026-11-19 09:00")


def test_without_an_offer_there_is_no_price():
    assert price(THREE, "b200", 8) is None
    assert price([replace(OFFER, kind="interruptible")], "h100-sxm", 8) is None
    assert price([replace(OFFER, kind="interruptible")], "h100-sxm", 8, kinds=("interruptible",)).low == 2.0


def test_one_price_is_for_every_gpu():
    figure = typed("2.49").price("l4")
    assert (figure.value, figure.source) == (2.49, "--price 2.49")


def test_a_price_of_its_own_goes_before_the_one_for_all():
    prices = typed(" 1 , h100-sxm=2.49, a100-80-sxm = 1.5 ")
    assert [prices.price(key).value for key in ("h100-sxm", "a100-80-sxm", "l4")] == [2.49, 1.5, 1.0]
    assert typed("h100-sxm=2.49").price("l4") is None
    assert typed("h100-sxm=2.49").price("h100-sxm").source == "--price h100-sxm=2.49"


def test_an_unknown_gpu_gets_the_nearest_name():
    with pytest.raises(WrongInput) as refused:
        typed("h100-smx=2")
    assert "h100-sxm" in refused.value.next_step


@pytest.mark.parametrize(
    "text",
    [
        *("0", "-1", "nan", "inf", "1001", "1e9", "", "2,49", "free", "$2", "2,", "=2", "h100-sxm=", "h100-sxm=0"),
        *("h100-sxm=2,h100-sxm=3", "h100-sxm=2=3"),
    ],
)
def test_what_is_no_price_is_refused_with_an_example(text):
    with pytest.raises(WrongInput) as refused:
        typed(text)
    assert refused.value.next_step


@given(some.text())
def test_any_text_is_a_price_or_wrong_input(text):
    try:
        prices = typed(text)
    except WrongInput:
        return
    for figure in filter(None, map(prices.price, gpus.table())):
        assert 0 < figure.value <= 1000


@given(some.dictionaries(some.sampled_from(gpus.names()), some.floats(0.01, 1000), min_size=1))
def test_what_was_typed_is_what_is_used(own):
    prices = typed(",".join(f"{key}={value!r}" for key, value in own.items()))
    assert {key: figure.value for key in gpus.names() if (figure := prices.price(key))} == own
