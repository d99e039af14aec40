"""What a time model of training must obey whatever its constants are."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.capacity.families import nanochat, of_family
from fleet.capacity.models import model
from fleet.capacity.setup import Adapter, Setup
from fleet.capacity.speed.claims import least_seconds
from fleet.capacity.speed.speed import speed
from profiles.errors import WrongInput
from profiles.gpus import gpu, table

GPUS = sorted(table())
PART_NAMES = {
    "matrices",
    "attention",
    "head",
    "memory-bound",
    "recompute",
    "communication",
    "optimizer",
    "offload",
    "launch",
}


@st.composite
def shapes(draw):
    heads = draw(st.integers(1, 40))
    return of_family(
        draw(st.sampled_from(("gpt2", "llama", "nanochat"))),
        draw(st.integers(1, 64)),
        128 * heads,
        heads,
        draw(st.integers(64, 200_000)),
        4096,
    )


@st.composite
def setups(draw, **fixed):
    card = gpu(draw(st.sampled_from(GPUS)))
    words = ["bf16", "fp16", "fp32"] + (["fp8-current", "fp8-rowwise"] if card.peak_for("fp8-current") else [])
    chosen = {
        "shape": draw(shapes()),
        "gpu": card,
        "gpus": draw(st.sampled_from((1, 2, 4, 8, 16, 64))),
        "length": draw(st.sampled_from((128, 512, 2048, 8192, 65536))),
        "micro_batch": draw(st.integers(1, 64)),
        "accumulation": draw(st.sampled_from((1, 2, 16))),
        "precision": draw(st.sampled_from(words)),
        "engine": draw(st.sampled_from(("ddp", "zero", "fsdp"))),
        "zero": draw(st.integers(0, 3)),
        "offload": draw(st.sampled_from(("none", "none", "optimizer", "parameters", "both"))),
        "checkpointing": draw(st.sampled_from(("none", "selective", "full"))),
        "optimizer": draw(st.sampled_from(("adamw", "muon"))),
        "attention": draw(st.sampled_from(("flash", "flash1", "flash3", "te", "math"))),
        "compile": draw(st.booleans()),
        "link": draw(st.sampled_from(("nvlink", "pcie"))),
        "between": draw(st.sampled_from(("infiniband", "ethernet"))),
        "adapter": draw(st.sampled_from((None, None, Adapter(16, ("q", "v", "mlp")), Adapter(8, quantised=True)))),
    }
    return Setup(**{**chosen, **fixed})


@given(setups())
def test_parts_are_never_negative_and_sum_to_the_step(setup):
    found = speed(setup)
    assert set(found.parts) == PART_NAMES
    assert all(seconds >= 0 for seconds in found.parts.values())
    assert sum(found.parts.values()) == pytest.approx(found.step_seconds)
    assert found.per_gpu.value * setup.gpus * found.step_seconds == pytest.approx(setup.step_tokens)


@given(setups(adapter=None))
def test_no_gpu_computes_more_than_its_peak(setup):
    found = speed(setup)
    least = least_seconds(setup.shape, setup.gpu, setup.precision, setup.length)
    assert found.per_gpu.value * least < 1
    assert found.per_gpu.high * least <= 1 + 1e-9


@given(setups())
def test_the_range_holds_the_prediction_and_says_what_it_comes_from(setup):
    found = speed(setup)
    assert 0 < found.per_gpu.low < found.per_gpu.value <= found.per_gpu.high
    assert "left out" in found.per_gpu.source
    assert found.total.value == pytest.approx(found.per_gpu.value * setup.gpus)


@given(setups(optimizer="adamw", offload="none", zero=0, engine="ddp", gpus=1), st.integers(2, 512))
def test_more_gpus_never_train_more_tokens_each(setup, gpus):
    assert speed(replace(setup, gpus=gpus)).per_gpu.value <= speed(setup).per_gpu.value * (1 + 1e-9)


@given(setups(optimizer="adamw", offload="none", engine="fsdp", zero=3, adapter=None, gpus=8))
def test_nodes_added_to_sharded_training_never_make_a_gpu_much_faster(setup):
    # a smaller share of the optimizer's state is all that they can gain
    gained = speed(setup).parts["optimizer"]
    one, more = speed(setup), speed(replace(setup, gpus=64))
    assert more.step_seconds >= one.step_seconds - gained


@given(setups(length=1024, micro_batch=64), st.sampled_from((2, 4, 16, 64)))
def test_the_same_tokens_in_longer_sequences_never_train_faster(setup, times):
    longer = replace(setup, length=1024 * times, micro_batch=64 // times)
    assert speed(longer).per_gpu.value <= speed(setup).per_gpu.value * (1 + 1e-9)


@given(setups(), st.floats(1.0, 4.0), st.floats(1.0, 4.0))
def test_faster_memory_and_links_never_slow_a_gpu_down(setup, memory, link):
    card = setup.gpu
    nvlink = card.nvlink_gbs and card.nvlink_gbs * link
    faster = replace(card, bandwidth_gbs=card.bandwidth_gbs * memory, nvlink_gbs=nvlink)
    assert speed(replace(setup, gpu=faster)).per_gpu.value >= speed(setup).per_gpu.value * (1 - 1e-9)


@given(setups(checkpointing="none", compile=True))
def test_recomputing_costs_up_to_a_third_and_a_frozen_model_costs_less(setup):
    nothing, full = speed(setup), speed(replace(setup, checkpointing="full"))
    computing = nothing.parts["matrices"] + nothing.parts["attention"] + nothing.parts["memory-bound"]
    frozen = 1.5 if setup.adapter else 1.0  # the forward pass is half of what a frozen model does
    assert 0 < full.parts["recompute"] <= computing / 3 * frozen * 1.001
    if setup.adapter is None and setup.zero < 3:
        adapted = speed(replace(setup, adapter=Adapter()))
        assert adapted.parts["matrices"] < nothing.parts["matrices"]


@given(setups(gpus=8, engine="fsdp", offload="none"), st.sampled_from((1, 2)))
def test_accumulating_never_makes_a_token_dearer(setup, accumulation):
    few = speed(replace(setup, accumulation=accumulation)).per_gpu.value
    assert speed(replace(setup, accumulation=8 * accumulation)).per_gpu.value >= few * (1 - 1e-9)


def test_a_precision_without_hardware_is_wrong_input():
    a100 = Setup(nanochat(20), gpu("a100-80-sxm"), 8, 2048, 8, precision="fp8-current")
    with pytest.raises(WrongInput, match="no hardware for fp8-current"):
        speed(a100)


def test_too_few_gpus_for_the_cut_are_wrong_input():
    with pytest.raises(WrongInput, match="nothing to train on"):
        speed(Setup(nanochat(20), gpu("h100-sxm"), 4, 2048, 8, tensor=8))


def test_a_small_model_uncompiled_waits_for_launches_and_compiling_helps():
    small = Setup(nanochat(12), gpu("h100-sxm"), 1, 256, 2, compile=False)
    found = speed(small)
    assert found.parts["launch"] > 0.2 * found.step_seconds
    assert any("launching" in warning for warning in found.warnings)
    assert speed(replace(small, compile=True)).per_gpu.value > found.per_gpu.value


def test_offloading_and_slow_links_are_named_where_they_take_much_of_a_step():
    base = Setup(of_family("gpt2", 24, 1536, 12, 50000, 2048), gpu("h100-sxm"), 8, 2048, 8, engine="zero", zero=3)
    offloaded = speed(replace(base, offload="optimizer"))
    assert any("offloading" in warning for warning in offloaded.warnings)
    assert offloaded.per_gpu.value < speed(base).per_gpu.value
    ethernet = speed(replace(base, gpus=16, between="ethernet"))
    assert any("exchange between GPUs" in warning for warning in ethernet.warnings)


def test_a_gpu_nobody_measured_gets_a_wider_range_that_says_so():
    shape = nanochat(20)
    seen = speed(Setup(shape, gpu("h100-sxm"), 1, 2048, 16, engine="fsdp")).per_gpu
    related = speed(Setup(shape, gpu("h100-pcie"), 1, 2048, 16, engine="fsdp")).per_gpu
    unseen = speed(Setup(shape, gpu("b200"), 1, 2048, 16, engine="fsdp")).per_gpu
    widths = [figure.high / figure.low for figure in (seen, related, unseen)]
    assert widths == sorted(widths)
    assert widths[0] < widths[1] < widths[2]
    assert "never measured" in related.source
    assert "architecture" in unseen.source


def test_fp32_runs_at_its_own_peak():
    setup = Setup(nanochat(20), gpu("a100-80-sxm"), 1, 2048, 16)
    assert speed(replace(setup, precision="fp32")).per_gpu.value < speed(setup).per_gpu.value / 5
    assert speed(replace(setup, precision="fp16")).per_gpu.value == pytest.approx(speed(setup).per_gpu.value)


def test_power_tells_form_factors_of_one_chip_apart():
    shape = model("llama-3.1-8b")
    rates = [
        speed(Setup(shape, gpu(key), 1, 2048, 8, checkpointing="full")).per_gpu.value
        for key in ("h100-pcie", "h100-96-sxm", "h100-sxm", "h200-sxm")
    ]
    assert rates == sorted(rates)
    assert rates[0] < 0.75 * rates[2]  # 350 W and 2 TB/s against 700 W and 3.35 TB/s


def test_a_table_of_all_gpus_and_lengths_is_a_matter_of_milliseconds():
    shape = nanochat(20)
    asked = [Setup(shape, card, 8, length, 4) for card in table().values() for length in (128, 512, 2048, 8192, 32768)]
    began = time.process_time()
    for setup in asked:
        speed(setup)
    assert time.process_time() - began < 0.01 * len(asked)  # ten times what a call may take
