"""The largest micro-batch, and what to turn when nothing fits."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from fleet.capacity.families import of_family
from fleet.capacity.memory.fit import changes, largest_micro_batch
from fleet.capacity.memory.memory import memory
from fleet.capacity.setup import Setup
from profiles.gpus import gpu

SHAPE = of_family("llama", 16, 2048, 16, 32768, 2048)
LARGE = of_family("llama", 64, 4096, 32, 32768, 2048)
CARDS = ("rtx4090", "a100-40-sxm", "h100-sxm", "h200-sxm")


def setup(shape=SHAPE, card="h100-sxm", **more):
    values = {"gpus": 8, "length": 2048, "micro_batch": 1} | more
    return Setup(shape, gpu(card), **values)


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(CARDS),
    st.integers(1, 48),
    st.integers(2, 24),
    st.sampled_from(["none", "selective", "full"]),
    st.sampled_from([("ddp", 0), ("zero", 1), ("zero", 3)]),
)
def test_the_largest_micro_batch_fits_and_one_more_does_not(card, layers, width, checkpointing, engine):
    asked = setup(
        of_family("llama", layers, 128 * width, width, 32768, 2048),
        card,
        checkpointing=checkpointing,
        engine=engine[0],
        zero=engine[1],
    )
    found = largest_micro_batch(asked)
    if found:
        assert memory(replace(asked, micro_batch=found)).verdict == "fits"
    assert memory(replace(asked, micro_batch=found + 1)).verdict != "fits"


def test_no_more_than_what_is_asked_for():
    assert largest_micro_batch(setup(), 3) == 3
    assert largest_micro_batch(setup(), 0) == 0
    assert largest_micro_batch(setup(LARGE, "rtx4090")) == 0


def test_a_larger_card_takes_at_least_as_much():
    found = [largest_micro_batch(setup(card=card, engine="zero", zero=1)) for card in CARDS]
    assert found == sorted(found)


def test_changes_come_cheapest_first_and_offload_last():
    asked = setup(micro_batch=64, loss_chunk=-1, engine="ddp")
    settings_of = [change.setting for change in changes(asked)]
    assert settings_of[0] == "train.loss_chunk=0"
    assert settings_of[1] == "train.micro_batch=32"
    assert "offload" in settings_of[-1]
    order = [setting.split("=")[0] for setting in settings_of]
    assert order.index("parallel.zero") < order.index("train.checkpointing") < order.index("parallel.offload")


def test_a_change_saves_what_it_says_and_is_judged():
    asked = setup(micro_batch=64)
    before = memory(asked).total
    for change in changes(asked):
        after = memory(change.setup)
        assert change.saves == before - after.total > 0
        assert change.fits == (after.verdict == "fits")
        assert change.costs


def test_a_smaller_micro_batch_leaves_the_steps_batch_exactly_as_it_was():
    asked = setup(micro_batch=48, accumulation=3)
    smaller = next(change for change in changes(asked) if "micro_batch" in change.setting)
    assert smaller.setup.step_tokens == asked.step_tokens
    assert smaller.setup.micro_batch == 24
    odd = next(change for change in changes(replace(asked, micro_batch=15)) if "micro_batch" in change.setting)
    assert odd.setup.step_tokens == replace(asked, micro_batch=15).step_tokens


def test_muon_is_not_told_to_cut_its_matrices():
    asked = setup(LARGE, micro_batch=8, optimizer="muon")
    assert not any("zero" in change.setting or "offload" in change.setting for change in changes(asked))


def test_twice_the_gpus_are_named_only_where_they_can_share_the_batch():
    """One sequence on each of 8 GPUs cannot be shared among 16."""
    eight = setup(zero=3, engine="zero", gpus=8, micro_batch=1, accumulation=1)
    assert not [change for change in changes(eight) if change.setting.startswith("gpu.count")]
    assert [change for change in changes(replace(eight, accumulation=2)) if change.setting == "gpu.count=16"]
