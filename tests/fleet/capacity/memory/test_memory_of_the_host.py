"""RAM of the machine: every process makes the model there, offloading keeps it there, and machines end."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fleet.capacity.count import count
from fleet.capacity.families import of_family
from fleet.capacity.memory.memory import memory
from fleet.capacity.models import model
from fleet.capacity.setup import Setup
from profiles.gpus import gpu

SMALL = of_family("llama", 8, 1024, 16, 32768, 2048)
PARAMETERS = count(SMALL).total


def setup(shape=SMALL, card="h100-sxm", **more):
    values = {"gpus": 8, "length": 2048, "micro_batch": 1} | more
    return Setup(shape, gpu(card), **values)


def test_every_process_of_a_machine_makes_the_model_in_fp32():
    assert memory(setup()).host == 4 * PARAMETERS * 8
    assert memory(setup(gpus=64)).host == memory(setup()).host
    assert memory(setup(gpus=1)).host == 4 * PARAMETERS


def test_deepspeed_makes_a_16_bit_one_beside_it_but_not_in_fp32():
    asked = setup(engine="zero", zero=1)
    assert memory(asked).host == 6 * PARAMETERS * 8
    assert memory(replace(asked, precision="fp32")).host == 4 * PARAMETERS * 8


@pytest.mark.parametrize(("offload", "each"), [("optimizer", 16), ("both", 18)])
def test_offloaded_state_comes_on_top_while_masters_are_set_from_the_model(offload, each):
    """A machine's share of the state, times DeepSpeed's 1.5 for pinning, and the fp32 model of each process."""
    asked = setup(engine="zero", zero=3, offload=offload)
    assert memory(asked).host == pytest.approx((1.5 * each + 4 * 8) * PARAMETERS)
    many = memory(replace(asked, gpus=64)).host  # a machine's share is small then: less than the 16-bit models before
    assert many == 6 * 8 * PARAMETERS


def test_other_programs_are_only_charged_for_what_they_offload():
    assert memory(setup(engine="fsdp2", zero=3, loss_chunk=-1)).host == 0


@pytest.mark.parametrize(
    ("card", "gpus", "most"), [("h100-sxm", 8, 1600e9), ("h100-pcie", 4, 400e9), ("rtx4090", 1, 64e9)]
)
def test_a_machine_is_assumed_to_have_ram_by_the_form_of_its_gpus(card, gpus, most):
    assert memory(setup(card=card, gpus=gpus)).host_capacity == most


def test_a_large_model_offloaded_from_one_gaming_card_is_refused():
    asked = setup(model("llama-3-70b"), "rtx4090", gpus=1, engine="zero", zero=3, offload="both", checkpointing="full")
    found = memory(asked)
    assert found.host > 1.9e12
    assert found.verdict == "refused"


def test_what_the_gpu_holds_but_the_machine_does_not_is_short_of_the_host():
    asked = setup(model("llama-3-8b"), "rtx4090", gpus=1, engine="zero", zero=3, offload="both", checkpointing="full")
    found = memory(asked)
    assert found.high <= found.capacity
    assert found.host > 2 * found.host_capacity
    assert (found.verdict, found.short_of) == ("refused", "host")


def test_the_verdict_is_the_worse_of_gpu_and_host():
    fits = memory(setup(gpus=4))
    assert (fits.verdict, fits.short_of) == ("fits", "")
    little = replace(fits, host=1.5 * fits.host_capacity)
    assert (little.verdict, little.short_of) == ("tight", "host")
    assert replace(fits, host=2.1 * fits.host_capacity).verdict == "refused"
    assert replace(fits, host=2.1e12, host_capacity=3e12).verdict == "refused"
    full = replace(little, high=1.01 * fits.capacity)
    assert (full.verdict, full.short_of) == ("tight", "GPU")
    over = replace(little, total=1.01 * fits.capacity, high=1.1 * fits.capacity)
    assert (over.verdict, over.short_of) == ("refused", "GPU")
