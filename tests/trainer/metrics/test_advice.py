"""Advice from a run's own numbers: by MFU, not by GPU utilisation."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from trainer.metrics.advice import advise, overfitting

GIB = 2**30
GOOD = {
    "mfu": {"bf16": 0.48, "fp8": 0.24},
    "peaks": {"bf16": {"tflops": 989.0, "name": "H100 SXM dense bf16"}},
    "split": {"step": 10, "data": 0.01, "forward": 0.3, "backward": 0.6, "optimizer": 0.05, "other": 0.04},
    "memory": {"max_reserved_bytes": 70 * GIB, "total_bytes": 80 * GIB, "allocator_retries": 0},
}
BIG = 1_000_000_000
SLOW_SETTINGS = {
    "parallel": {"offload": "both"},
    "train": {"checkpointing": "full", "compile": False},
    "precision": {"name": "bf16"},
    "model": {"attention": "sdpa"},
    "data": {"prefetch": 4},
    "checkpoint": {"every": 50},
}


def test_a_good_run_is_left_alone():
    assert advise(GOOD, parameters=BIG, settings=SLOW_SETTINGS) == []


def test_a_low_mfu_names_what_costs_speed_and_high_utilisation_is_no_excuse():
    slow = {**GOOD, "mfu": {"bf16": 0.07, "fp8": 0.035}}
    first, second = advise(slow, parameters=BIG, settings=SLOW_SETTINGS, gpus=[{"index": 0, "utilisation": 0.99}])
    assert "7.0% of H100 SXM dense bf16" in first
    for cause in ("parallel.offload", "train.checkpointing full", "train.compile is off", "model.attention is sdpa"):
        assert cause in first
    assert "99% does not contradict" in second


def test_what_used_to_be_called_good_is_called_what_it_is():
    """20% was once the mark of a good run; peers reach 35 to 50%."""
    assert "far below" in advise({**GOOD, "mfu": {"bf16": 0.21}}, parameters=BIG)[0]
    assert "35 to 50%" in advise({**GOOD, "mfu": {"bf16": 0.30}}, parameters=BIG)[0]
    assert advise({**GOOD, "mfu": {"bf16": 0.36}}, parameters=BIG) == []


def test_a_small_model_or_an_unknown_gpu_is_not_judged_by_mfu():
    assert advise({**GOOD, "mfu": {"bf16": 0.02}}, parameters=10_000_000) == []
    assert advise({**GOOD, "mfu": {"bf16": None, "fp8": None}}, parameters=BIG) == []


def test_waiting_for_data_is_told_with_the_knob():
    (told,) = advise(
        {**GOOD, "split": {"step": 1, "data": 0.2, "forward": 0.2, "backward": 0.6}}, settings=SLOW_SETTINGS
    )
    assert "waiting for data is 20% of a step" in told
    assert "data.prefetch (now 4)" in told


def test_a_long_optimizer_step_is_the_offloads_or_a_small_batchs_fault():
    split = {**GOOD, "split": {"forward": 1.0, "backward": 2.0, "optimizer": 1.0}}
    assert "train.batch" in advise(split)[0]
    assert "parallel.offload=none" in advise(split, settings=SLOW_SETTINGS)[0]


def test_unused_memory_and_too_full_memory():
    low = {**GOOD, "memory": {"max_reserved_bytes": 30 * GIB, "total_bytes": 80 * GIB}}
    (told,) = advise(low, settings=SLOW_SETTINGS)
    for part in ("38% of 80 GiB", "larger train.micro_batch", "less train.checkpointing", "no parallel.offload"):
        assert part in told
    full = {**GOOD, "memory": {"max_reserved_bytes": 79 * GIB, "total_bytes": 80 * GIB, "allocator_retries": 3}}
    assert "smaller train.micro_batch" in advise(full)[0]


def test_time_that_goes_elsewhere():
    spent = {"seconds": 100.0, "save": 8.0, "evaluation": 20.0, "lost": 30.0}
    told = advise(GOOD, spent=spent, settings=SLOW_SETTINGS)
    assert [text.split(" ")[0] for text in told] == ["saving", "evaluation", "30%"]
    assert "now 50 steps" in told[0]


def test_a_hot_and_a_broken_gpu_are_named_and_the_power_cap_is_normal():
    gpus = [
        {"index": 0, "throttle": ["power_cap"], "ecc_uncorrected": 0},
        {"index": 3, "throttle": ["thermal", "power_cap"], "temperature_c": 92, "ecc_uncorrected": 2},
    ]
    hot, broken = advise(GOOD, gpus=gpus)
    assert "GPU 3 is slowed down (thermal) at 92 C" in hot
    assert "GPU 3 has 2 uncorrected" in broken


def test_a_validation_loss_that_rises_three_times_running_is_overfitting():
    def lines(*losses):
        return [{"event": "eval", "val_loss": loss} for loss in losses]

    assert overfitting(lines(4, 3, 3.1, 3.2, 3.1)) is None
    assert overfitting(lines(3, 3.1, 3.2)) is None
    assert "best 3.0000" in overfitting(lines(4, 3, 3.1, 3.2, 3.3))
    assert overfitting([{"event": "eval"}] * 5) is None


NUMBER = st.none() | st.floats(0, 1e12)
SOME = st.dictionaries(st.sampled_from(["data", "forward", "optimizer", "bf16", "seconds", "save", "lost"]), NUMBER)


@given(SOME, SOME, SOME)
def test_missing_numbers_are_missing_sentences(split, mfu, spent):
    told = advise({"split": split, "mfu": mfu, "memory": {}}, parameters=BIG, spent=spent)
    assert all(isinstance(text, str) and text for text in told)
