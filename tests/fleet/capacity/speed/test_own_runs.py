"""The user's own runs correct the prediction."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.capacity.count import count
from fleet.capacity.families import nanochat, of_family
from fleet.capacity.setup import Setup
from fleet.capacity.speed.measured import Measured, calibration, correction, shape_of
from fleet.capacity.speed.speed import speed
from profiles.gpus import gpu

SHAPE = nanochat(20)
SETUP = Setup(SHAPE, gpu("h100-sxm"), 8, 2048, 16)


def run_of(setup, factor=1.0, source="runs/first, 2026-11-02", **other):
    values = {
        "gpu": setup.gpu.key,
        "gpus": setup.gpus,
        "precision": setup.precision,
        "shape": setup.shape.name,
        "parameters": count(setup.shape).total,
        "width": setup.shape.width,
        "layers": setup.shape.layers,
        "length": setup.length,
        "micro_batch": setup.micro_batch,
        "engine": setup.engine,
        "zero": setup.zero,
        "offload": setup.offload,
        "checkpointing": setup.checkpointing,
        "tokens_per_second_per_gpu": speed(setup).formula * factor,
        "peak_bytes": None,
        "source": source,
    }
    return Measured(**{**values, **other})


def test_without_runs_nothing_is_corrected():
    assert calibration(SETUP, []) == (1.0, "")


def test_the_same_setup_measured_is_believed_almost_wholly_and_named():
    run = run_of(SETUP, 0.7)
    found = speed(SETUP, [run])
    assert found.per_gpu.value == pytest.approx(run.tokens_per_second_per_gpu, rel=0.03)
    assert run.source in found.per_gpu.source
    assert sum(found.parts.values()) == pytest.approx(found.step_seconds)


def test_the_range_shrinks_with_a_measured_run():
    before, after = speed(SETUP).per_gpu, speed(SETUP, [run_of(SETUP, 0.9)]).per_gpu
    assert after.high / after.low < (before.high / before.low) ** 0.4


def test_runs_of_another_gpu_say_nothing():
    other = replace(SETUP, gpu=gpu("a100-80-sxm"))
    assert calibration(SETUP, [run_of(other, 0.5)]) == (1.0, "")


def test_a_run_further_away_corrects_less():
    near = replace(SETUP, length=4096, micro_batch=8)
    far = replace(SETUP, shape=of_family("nanochat", 4, 256, 2, 32768, 2048))
    factors = [correction(SETUP, [run_of(setup, 0.6)]) for setup in (SETUP, near, far)]
    assert factors[0].factor < factors[1].factor < factors[2].factor < 1
    assert factors[0].trust > factors[1].trust > factors[2].trust


def test_the_same_precision_counts_before_another():
    fp8 = replace(SETUP, precision="fp8-current")
    runs = [run_of(SETUP, 0.6, "bf16 run"), run_of(fp8, 0.95, "fp8 run")]
    assert correction(fp8, runs).runs[0] == "fp8 run"
    assert correction(fp8, runs).factor > 0.85


def test_what_no_gpu_can_compute_is_no_measurement():
    absurd = run_of(SETUP, tokens_per_second_per_gpu=1e7)
    nothing = run_of(SETUP, tokens_per_second_per_gpu=0.0)
    assert calibration(SETUP, [absurd, nothing]) == (1.0, "")


def test_a_shape_is_rebuilt_from_what_a_run_records():
    other = nanochat(12, value_embeddings=False)
    like = nanochat(20, value_embeddings=False)
    rebuilt = shape_of(like, run_of(replace(SETUP, shape=other)))
    assert count(rebuilt).total == pytest.approx(count(other).total, rel=0.01)
    assert (rebuilt.width, rebuilt.layers, rebuilt.ffn) == (other.width, other.layers, other.ffn)


@given(st.lists(st.tuples(st.sampled_from((1, 2, 8, 64)), st.integers(1, 32), st.floats(0.2, 1.2)), max_size=6))
def test_a_correction_never_leaves_what_was_measured_over_predicted(runs):
    measured = [run_of(replace(SETUP, gpus=gpus, micro_batch=batch), factor) for gpus, batch, factor in runs]
    factor, _ = calibration(SETUP, measured)
    ratios = [1.0] + [factor for _, _, factor in runs]
    assert min(ratios) - 1e-6 <= factor <= max(ratios) + 1e-6
