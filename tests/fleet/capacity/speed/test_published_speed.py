"""The shipped constants against published rows, and the fit that made them."""

from __future__ import annotations

from dataclasses import replace
from statistics import median

import pytest

from bench.fit_speed import NAMES, cases, fit, left_out
from fleet.capacity.families import mpt, nanochat
from fleet.capacity.models import model
from fleet.capacity.setup import Setup
from fleet.capacity.speed.constants import FITTED
from fleet.capacity.speed.speed import speed
from fleet.capacity.speed.step import per_gpu
from profiles.gpus import gpu

CASES = cases()


def share(errors, limit):
    return sum(abs(error) <= limit for error in errors) / len(errors)


def rate(setup, **other):
    return per_gpu(replace(setup, **other))


def test_nine_in_ten_published_rates_are_met_within_15_percent_and_nearly_all_within_30():
    errors = [case.error(FITTED) for case in CASES]
    assert len(errors) >= 125
    assert median(map(abs, errors)) < 0.04
    assert share(errors, 0.15) > 0.9
    assert share(errors, 0.30) > 0.97


def test_the_range_holds_nine_in_ten_published_rates():
    figures = [(speed(case.setup).per_gpu, case.row.tokens_per_second) for case in CASES]
    assert sum(figure.low <= told <= figure.high for figure, told in figures) / len(figures) > 0.9


def test_the_shipped_constants_are_what_the_fit_gives():
    found = fit(CASES)
    for name in NAMES:
        assert getattr(FITTED, name) == pytest.approx(getattr(found, name), rel=0.1), name


@pytest.mark.slow
@pytest.mark.parametrize("group", ["model", "gpu", "length"])
def test_rows_of_a_kind_left_out_of_the_fit_are_foretold(group):
    keys = {
        "model": lambda case: case.row.model.lower(),
        "gpu": lambda case: case.setup.gpu.key,
        "length": lambda case: case.setup.length,
    }
    errors = left_out(CASES, keys[group])
    assert share(errors, 0.15) > 0.85
    assert share(errors, 0.30) > 0.95


@pytest.mark.parametrize(
    ("width", "layers", "heads", "length", "micro_batch", "gain"),
    [
        (2048, 24, 16, 512, 56, 1.345),
        (2048, 24, 16, 8192, 3, 1.10),
        (2560, 32, 20, 512, 40, 1.31),
        (2560, 32, 20, 8192, 3, 1.155),
    ],
)
def test_fp8_gains_as_much_as_measured_and_less_in_longer_sequences(width, layers, heads, length, micro_batch, gain):
    # trainer.md 11.1: MPT 1B and 3B on H100
    shape = mpt(layers, width, heads, length)
    setup = Setup(shape, gpu("h100-sxm"), 8, length, micro_batch, engine="fsdp", zero=3, compile=False)
    setup = replace(setup, attention="flash1")
    assert rate(setup, precision="fp8-delayed") / rate(setup) == pytest.approx(gain, rel=0.1)


def test_fp8_gains_at_8b_and_rowwise_scaling_does_not_pay():
    llama = Setup(model("llama-3.1-8b"), gpu("h100-96-sxm"), 8, 8192, 2, engine="fsdp2", zero=3)
    llama = replace(llama, checkpointing="selective")
    assert rate(llama, precision="fp8-current") / rate(llama) == pytest.approx(1.28, rel=0.1)
    d26 = Setup(nanochat(26), gpu("h100-sxm"), 8, 2048, 16, 2, engine="nanochat", zero=1, optimizer="muon")
    d26 = replace(d26, attention="flash3")
    assert rate(d26, precision="fp8-current") / rate(d26) == pytest.approx(1.17, rel=0.1)
    assert rate(d26, precision="fp8-rowwise") / rate(d26) == pytest.approx(0.90, rel=0.1)


def test_fp8_hardly_gains_at_a_width_of_768():
    small = Setup(nanochat(12), gpu("h100-sxm"), 8, 2048, 32, engine="nanochat", zero=1, attention="flash3")
    assert rate(small, precision="fp8-current") / rate(small) < 1.06


def test_compiling_gains_about_as_much_as_published_at_8b():
    llama = Setup(model("llama-3.1-8b"), gpu("h100-96-sxm"), 8, 8192, 2, engine="fsdp2", zero=3)
    llama = replace(llama, checkpointing="selective")
    assert rate(llama) / rate(llama, compile=False) == pytest.approx(6667 / 5762, rel=0.1)
