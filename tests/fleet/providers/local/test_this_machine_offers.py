"""What this machine is as an offer: its GPUs in the counts asked for, else its processor."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleet.offers.offer import Question
from fleet.providers.local import machine
from fleet.providers.local.machine import Machine, cards, key_of, offers
from profiles.errors import WrongInput

SEEN = "2026-11-20T10:00:00+00:00"
EIGHT = "\n".join(f"{index}, NVIDIA H100 80GB HBM3, 81559" for index in range(8))
ONE = Machine(cards("0, NVIDIA GeForce RTX 4090, 24564\n"), "570.86.15", "12.8", 16, 64.0, 500.0)
NONE = frozenset[str]()


@pytest.mark.parametrize(
    ("name", "mib", "key"),
    [
        ("NVIDIA H100 80GB HBM3", 81559, "h100-sxm"),
        ("NVIDIA H100 PCIe", 81559, "h100-pcie"),
        ("NVIDIA GeForce RTX 4090", 24564, "rtx-4090"),
        ("NVIDIA H200", 143771, "h200-sxm"),
        ("NVIDIA GeForce GTX 1050", 4096, ""),
        ("", 0, ""),
    ],
)
def test_a_gpu_is_found_by_its_drivers_name(name, mib, key):
    from profiles import gpus

    found = key_of(name, mib)
    assert found == key or (key and found in gpus.table() and gpus.table()[found].memory_mib == mib)


@pytest.mark.parametrize(
    "said", ["", "No devices were found\n", "0, NVIDIA H100\n", "x, NVIDIA H100 PCIe, 1\n", "\0,,\n"]
)
def test_what_is_no_line_of_nvidia_smi_is_no_gpu(said):
    assert cards(said) == ()


def test_a_machine_without_a_gpu_offers_its_processor_for_nothing():
    (offer,) = offers(Machine(cpus=2, ram_gb=8.0, disk_gb=9.0), NONE, Question(), SEEN, 0.0).offers
    assert (offer.provider, offer.gpu, offer.count, offer.per_hour(100)) == ("local", "cpu", 1, 0.0)


def test_what_it_costs_is_of_the_whole_machine():
    (offer,) = offers(Machine(), NONE, Question(), SEEN, 0.35).offers
    assert offer.per_hour() == pytest.approx(0.35)
    eight = offers(Machine(cards(EIGHT)), NONE, Question(), SEEN, 8.0).offers
    assert {offer.count: offer.per_hour() for offer in eight} == {1: 1.0, 2: 2.0, 4: 4.0, 8: 8.0}


def test_who_wants_a_gpu_is_told_that_there_is_none():
    found = offers(Machine(), NONE, Question(gpus=("h100-sxm",)), SEEN, 0.0)
    assert found.offers == [] and "no GPU" in found.skipped[0].why


def test_gpus_that_our_runs_hold_are_not_offered():
    key = cards(EIGHT)[0].key
    found = offers(Machine(cards(EIGHT)), frozenset({"0", "3", "5"}), Question(gpus=(key,)), SEEN, 0.0)
    assert [offer.count for offer in found.offers] == [1, 2, 4]
    assert machine.chosen(Machine(cards(EIGHT)), key, frozenset({"0", "3"})) == ["1", "2", "4", "5", "6", "7"]


def test_other_gpus_than_those_asked_for_are_not_offered():
    assert offers(ONE, NONE, Question(gpus=("h100-sxm",)), SEEN, 0.0).offers == []
    assert offers(ONE, NONE, Question(gpus=(ONE.cards[0].key,)), SEEN, 0.0).offers[0].cuda == "12.8"


def test_a_gpu_of_no_table_is_told_and_not_offered():
    found = offers(Machine(cards("0, NVIDIA GeForce GTX 1050, 4096")), NONE, Question(), SEEN, 0.0)
    assert found.offers == [] and "GTX 1050" in found.skipped[0].what


@pytest.mark.parametrize("text", ["free", "-1", "1e3", "nan", "0.35 USD"])
def test_a_price_that_is_none_is_refused(text):
    with pytest.raises(WrongInput, match="STOKER_LOCAL_PRICE"):
        machine.price({machine.PRICE: text})


def test_this_very_machine_can_be_read(tmp_path: Path):
    found = machine.read(tmp_path / "not" / "there" / "yet")
    assert found.cpus >= 1 and found.ram_gb and found.disk_gb
