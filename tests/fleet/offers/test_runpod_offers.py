"""RunPod's catalogue as offers."""

from __future__ import annotations

import pytest

from fleet.offers import runpod
from fleet.offers.offer import Question, told
from fleet.wire.failed import ProviderFailed
from tests.fleet.offers.market import Seen, reply, runpod_row

SEEN = "2026-11-21T14:02:00+00:00"
ONE = Question(counts=(1,))


def parsed(row, count=1, cloud="SECURE", question=ONE):
    return runpod.parse({"gpus": [row]}, question, count, cloud, SEEN)


def test_each_count_and_cloud_is_one_request_because_stock_depends_on_both(line, markets):
    found = runpod.offers(line("runpod"), Question(counts=(1, 8)), SEEN)
    asked = [(seen.query["count"], seen.query["cloud"]) for seen in markets["runpod"].seen]
    assert sorted(asked) == [("1", "COMMUNITY"), ("1", "SECURE"), ("8", "COMMUNITY"), ("8", "SECURE")]
    # community machines have 2 GPUs at most: no offer of 8
    listed = [(offer.gpu, offer.count, offer.tier, offer.price) for offer in found.offers]
    assert sorted(listed) == [
        ("h100-sxm", 1, "community", 2.69),
        ("h100-sxm", 1, "secure", 2.99),
        ("h100-sxm", 8, "secure", 2.99),
    ]


def test_the_price_is_per_gpu_already_and_a_machine_costs_count_times_it():
    (offer,) = parsed(runpod_row(), count=8, question=Question(counts=(8,))).offers
    assert (offer.price, offer.count) == (2.99, 8)
    assert offer.per_hour() == pytest.approx(23.92)
    assert offer.per_hour(disk_gb=720) == pytest.approx(23.92 + 0.10)  # 0.10 USD per GB and month of 720 h


def test_a_data_centre_without_stock_is_no_offer_and_others_are_one_each():
    centres = [
        {"id": name, "name": name, "availability": level}
        for name, level in (("A", "HIGH"), ("B", "NONE"), ("C", "odd"))
    ]
    found = parsed(runpod_row(dataCenters=centres))
    assert [(offer.region, offer.stock) for offer in found.offers] == [("A", "high"), ("C", "unknown")]


def test_no_data_centres_means_anywhere():
    (offer,) = parsed(runpod_row(dataCenters=None)).offers
    assert (offer.region, offer.stock) == ("", "low")


def test_sold_out_or_not_in_that_cloud_is_no_offer_and_nothing_to_tell():
    for row in (runpod_row(availability="NONE"), runpod_row(secure=False), runpod_row(maxCount={"secure": 0})):
        found = parsed(row)
        assert (found.offers, found.skipped) == ([], [])


def test_the_newest_cuda_is_compared_as_numbers_and_full_machines_do_not_count():
    (offer,) = parsed(runpod_row()).offers
    assert offer.cuda == "12.11"


def test_a_gpu_without_a_row_in_the_table_is_told_once():
    found = parsed(runpod_row(id="AMD Instinct MI300X OAM"))
    found.add(parsed(runpod_row(id="AMD Instinct MI300X OAM"), cloud="COMMUNITY"))
    assert found.offers == []
    assert told(found.skipped) == ["runpod: AMD Instinct MI300X OAM: no GPU of Stoker's table"]


def test_a_slice_of_a_gpu_is_not_the_gpu():
    name = "NVIDIA RTX PRO 6000 Blackwell Server Edition"
    assert [offer.gpu for offer in parsed(runpod_row(id=name)).offers] == ["rtx-pro-6000"]
    assert parsed(runpod_row(id=f"{name} MIG 1g.24gb")).offers == []


@pytest.mark.parametrize(
    "price", [None, {}, {"secure": None}, {"secure": 0}, {"secure": -1}, {"secure": "?"}, {"secure": 5000}]
)
def test_a_price_that_cannot_be_read_is_unknown_never_free(price):
    found = parsed(runpod_row(price=price))
    assert found.offers == []
    assert "no readable price" in found.skipped[0].why


def test_a_number_sent_as_a_string_is_read():
    (offer,) = parsed(runpod_row(price={"secure": "2.99"})).offers
    assert offer.price == 2.99


@pytest.mark.parametrize("answer", [None, [], {}, {"gpus": None}, {"gpus": {}}, "text", 3])
def test_an_answer_without_the_list_is_a_failure_not_an_empty_market(answer):
    with pytest.raises(ProviderFailed, match="runpod"):
        runpod.parse(answer, ONE, 1, "SECURE", SEEN)


def test_an_empty_list_is_an_empty_market(line, markets):
    markets["runpod"].normal = lambda seen: reply({"gpus": []})
    assert runpod.offers(line("runpod"), ONE, SEEN).offers == []


def test_only_the_gpus_asked_for_are_offered(line, markets):
    def both(_: Seen):
        return reply({"gpus": [runpod_row(), runpod_row(id="NVIDIA L4")]})

    markets["runpod"].normal = both
    found = runpod.offers(line("runpod"), Question(gpus=("l4",), counts=(1,)), SEEN)
    assert {offer.gpu for offer in found.offers} == {"l4"}
