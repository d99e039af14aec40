"""Vast.ai's search as offers."""

from __future__ import annotations

import pytest

from fleet.offers import vast
from fleet.offers.offer import INTERRUPTIBLE, ON_DEMAND, Question, told
from fleet.wire.failed import KeyRefused, ProviderFailed, Throttled
from tests.fleet.offers.market import VastStock, reply, vast_row

SEEN = "2026-11-21T14:02:00+00:00"
ALL = Question()


def parsed(*rows, kind=ON_DEMAND, question=ALL):
    return vast.parse({"offers": list(rows)}, question, kind, SEEN)


def test_the_documented_row_becomes_an_offer_per_gpu_without_the_disk(line, markets):
    (offer,) = vast.offers(line("vast"), ALL, SEEN).offers
    assert (offer.gpu, offer.count, offer.price, offer.kind) == ("rtx4090", 2, 0.35, ON_DEMAND)
    assert (offer.region, offer.tier, offer.machine, offer.id) == ("SE", "datacenter", "88888", "12345678")
    assert (offer.cuda, offer.driver, offer.reliability, offer.hours) == ("12.8", "570.86.15", 0.995, 336)
    assert (offer.disk_gb, offer.up_price, offer.down_price) == (800, 0.005, 0.003)


def test_the_total_with_a_disk_follows_the_documented_formula():
    (offer,) = parsed(vast_row(num_gpus=1, dph_base=0.2, storage_cost=0.149333)).offers
    assert offer.per_hour(10) - offer.per_hour() == pytest.approx(0.00207407, abs=1e-8)  # the OpenAPI file's example


def test_the_machines_memory_is_scaled_to_the_slice():
    (half,) = parsed(vast_row()).offers
    (by_fraction,) = parsed(vast_row(cpu_cores=None, gpu_frac=0.25)).offers
    (unknown,) = parsed(vast_row(cpu_cores=None, gpu_frac=None)).offers
    assert [half.ram_gb, by_fraction.ram_gb, unknown.ram_gb] == [128.5, 64.25, None]


@pytest.mark.parametrize(("ram", "key"), [(40960, "a100-40-sxm"), (81920, "a100-80-sxm"), (80000, "a100-80-sxm")])
def test_memory_tells_the_two_a100_apart(ram, key):
    (offer,) = parsed(vast_row(gpu_name="A100 SXM4", gpu_ram=ram)).offers
    assert offer.gpu == key


def test_a_card_with_another_memory_is_another_card():
    found = parsed(vast_row(gpu_ram=49140), vast_row(gpu_ram=None))
    assert found.offers == []
    assert told(found.skipped) == [
        "vast: RTX 4090: 48 GiB each: another card than Stoker's NVIDIA GeForce RTX 4090",
        "vast: RTX 4090: its memory is not told",
    ]


def test_both_spellings_of_a_name_are_understood():
    assert [offer.gpu for offer in parsed(vast_row(gpu_name="RTX_4090")).offers] == ["rtx4090"]


def test_without_a_base_price_the_total_less_the_disk_searched_for_stands_in():
    row = vast_row(dph_base=None, dph_total=0.70 + ALL.disk_gb * 0.15 / 720)
    (offer,) = parsed(row).offers
    (without,) = parsed({**row, "storage_cost": None}).offers
    assert offer.price == pytest.approx(0.35)
    assert without.price == pytest.approx(row["dph_total"] / 2)


@pytest.mark.parametrize(
    "row", [{"dph_base": 0}, {"dph_base": "free"}, {"num_gpus": 2, "dph_base": 4001}, {"id": None}]
)
def test_a_row_without_price_or_id_is_told_and_not_offered(row):
    found = parsed({**vast_row(**row), "dph_total": None})
    assert found.offers == []
    assert "no readable price or id" in found.skipped[0].why


@pytest.mark.parametrize("row", [{"rentable": False}, {"rented": True}, {"reliability2": 0.5}, {"num_gpus": 3}])
def test_what_cannot_be_rented_or_was_not_asked_for_is_left_out(row):
    assert parsed(vast_row(**row)).offers == []


def test_interruptible_offers_are_asked_for_apart_and_cost_at_least_the_lowest_bid(line, markets):
    found = vast.offers(line("vast"), Question(spot=True), SEEN)
    assert [seen.body["type"] for seen in markets["vast"].seen] == ["on-demand", "bid"]
    assert [(offer.kind, offer.price) for offer in found.offers] == [(ON_DEMAND, 0.35), (INTERRUPTIBLE, 0.175)]


def test_a_cut_list_is_read_on_from_its_last_price_and_no_machine_is_listed_twice(line, markets, monkeypatch):
    monkeypatch.setattr(vast, "PAGE", 10)
    prices = [0.5 + 0.01 * (place // 2) for place in range(25)]  # pairs: a page may end between two equal prices
    rows = [vast_row(id=place, dph_base=price) for place, price in enumerate(prices)]
    markets["vast"].normal = VastStock(rows)
    found = vast.offers(line("vast"), ALL, SEEN)
    assert sorted(int(offer.id) for offer in found.offers) == list(range(25))
    assert found.skipped == []
    assert len(markets["vast"].seen) <= 4


def test_a_list_too_long_for_the_rate_limit_is_cut_and_told(line, markets, monkeypatch):
    monkeypatch.setattr(vast, "PAGE", 3)
    markets["vast"].normal = VastStock([vast_row(id=place, dph_base=1 + place) for place in range(30)])
    found = vast.offers(line("vast"), ALL, SEEN)
    assert len(markets["vast"].seen) == vast.PAGES
    assert "the list was cut there" in told(found.skipped)[0]


def test_many_machines_at_one_price_do_not_ask_for_ever(line, markets, monkeypatch):
    monkeypatch.setattr(vast, "PAGE", 3)
    markets["vast"].normal = VastStock([vast_row(id=place) for place in range(9)])
    found = vast.offers(line("vast"), ALL, SEEN)
    assert len(markets["vast"].seen) == 2
    assert "cut" in told(found.skipped)[0]


def test_a_gpu_whose_name_there_nobody_knows_is_told_and_not_asked_for(line, markets):
    found = vast.offers(line("vast"), Question(gpus=("l40s",)), SEEN)
    assert told(found.skipped) == ["vast: l40s: its name there is not known"]
    assert markets["vast"].seen == []


def test_a_bad_key_is_a_404_there_and_still_a_refused_key(line, markets):
    with pytest.raises(KeyRefused) as refused:
        vast.offers(line("vast", key="wrong"), ALL, SEEN)
    assert "VAST_API_KEY" in refused.value.next_step
    assert markets["vast"].broken_rules.pop() == "another Authorization than a bearer key"


def test_the_daily_quota_of_rows_is_not_asked_again(line, markets):
    body = {"success": False, "error": "search_quota_exceeded", "msg": "daily search quota"}
    markets["vast"].script = [reply(body, 429, Retry_After="1")] * 3
    with pytest.raises(Throttled):
        vast.offers(line("vast"), ALL, SEEN)
    assert len(markets["vast"].seen) == 1


@pytest.mark.parametrize("answer", [None, [], {}, {"success": False, "msg": "no", "offers": []}, "x"])
def test_an_answer_without_offers_is_a_failure_not_an_empty_market(answer):
    with pytest.raises(ProviderFailed, match="vast"):
        vast.parse(answer, ALL, ON_DEMAND, SEEN)


def test_a_single_object_counts_as_a_list_of_one():
    assert len(vast.parse({"offers": vast_row()}, ALL, ON_DEMAND, SEEN).offers) == 1


@pytest.mark.parametrize(
    ("place", "code"), [("Sweden, SE", "SE"), (", US", "US"), ("US", "US"), ("Somewhere", "Somewhere")]
)
def test_a_place_is_its_country_code_where_there_is_one(place, code):
    assert vast.region(place) == code
