"""Hyperbolic's rental options as offers."""

from __future__ import annotations

import pytest

from fleet.offers import hyperbolic
from fleet.offers.offer import Question, told
from fleet.wire.failed import ProviderFailed
from tests.fleet.offers.market import hyperbolic_row

SEEN = "2026-11-21T14:02:00+00:00"
ALL = Question()


def parsed(*rows, question=ALL):
    return hyperbolic.parse(list(rows), question, SEEN)


def test_cents_for_the_whole_option_become_dollars_per_gpu_hour(line, markets):
    found = hyperbolic.offers(line("hyperbolic"), ALL, SEEN)
    assert [(offer.gpu, offer.count, offer.price) for offer in found.offers] == [
        ("h100-pcie", 1, 2.75),
        ("h100-sxm", 8, 3.19),
    ]
    assert found.offers[1].per_hour(disk_gb=1000) == pytest.approx(25.52)  # its disk is in the price


def test_the_list_also_answers_without_a_key(line, markets):
    assert len(hyperbolic.offers(line("hyperbolic", key=""), ALL, SEEN).offers) == 2
    assert "authorization" not in markets["hyperbolic"].seen[0].headers


def test_what_the_provider_pays_its_supplier_is_in_no_offer():
    (offer,) = parsed(hyperbolic_row()).offers
    assert "1111" not in str(offer.to_json())


def test_absent_stock_is_unknown_and_zero_is_none():
    row = hyperbolic_row()
    del row["totalAvailable"]
    assert [offer.stock for offer in parsed(row).offers] == ["unknown"]
    assert parsed(hyperbolic_row(totalAvailable=0)).offers == []


def test_a_disabled_option_is_no_offer():
    assert parsed(hyperbolic_row(enabled=False)).offers == []


def test_bare_metal_cannot_be_rented_and_is_told():
    found = parsed(hyperbolic_row(machineType="bare-metal"))
    assert found.offers == []
    assert "bare metal" in told(found.skipped)[0]


def test_the_form_factor_is_part_of_the_gpu():
    found = parsed(*(hyperbolic_row(gpuFormFactor=form) for form in ("sxm5", "pcie", "nvl", None)))
    assert [offer.gpu for offer in found.offers] == ["h100-sxm", "h100-pcie"]
    assert [row.what for row in found.skipped] == ["h100 nvl", "h100"]


def test_two_options_that_an_order_cannot_tell_apart_carry_a_warning():
    twins = parsed(hyperbolic_row(), hyperbolic_row(gpuFormFactor="pcie", costPerHourCents=2200)).offers
    assert all("check the GPU you get" in offer.note for offer in twins)
    (alone,) = parsed(hyperbolic_row()).offers
    assert alone.note == ""


def test_the_figures_of_all_nodes_are_added_and_one_missing_makes_them_unknown():
    node = hyperbolic_row()["nodes"][0]
    (two,) = parsed(hyperbolic_row(nodes=[node, node])).offers
    assert (two.ram_gb, two.disk_gb, two.cpus) == (3000, 24000, 400)
    (unknown,) = parsed(hyperbolic_row(nodes=[node, {}])).offers
    assert (unknown.ram_gb, unknown.disk_gb) == (None, None)


@pytest.mark.parametrize("cents", [None, 0, -5, "free", 9_000_000, True])
def test_a_price_that_cannot_be_read_is_unknown_never_free(cents):
    found = parsed(hyperbolic_row(costPerHourCents=cents))
    assert found.offers == []
    assert "no readable price" in found.skipped[0].why


@pytest.mark.parametrize("answer", [None, {}, {"error": "no"}, "text"])
def test_an_answer_that_is_no_list_is_a_failure_not_an_empty_market(answer):
    with pytest.raises(ProviderFailed, match="hyperbolic"):
        hyperbolic.parse(answer, ALL, SEEN)
