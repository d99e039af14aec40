"""Rates that guides and plans claim, judged by what a GPU can compute. Examples: the project's planning facts."""

from __future__ import annotations

import pytest

from fleet.capacity.families import nanochat, of_family
from fleet.capacity.shape import Shape
from fleet.capacity.speed.claims import judge
from profiles.errors import WrongInput
from profiles.gpus import gpu

# a character model of 64 layers: 12.9e9 parameters, nearly all in matrices
D64 = of_family("nanochat", 64, 4096, 32, 64, 2048)
BILLION = of_family("gpt2", 24, 2048, 16, 50000, 2048)
GPT_760M = of_family("gpt2", 24, 1536, 12, 50000, 2048)


def plain(parameters: float) -> Shape:
    """A model of about so many parameters, nearly all in matrices; the guides' sequences are 8 tokens long."""
    return of_family("nanochat", round(parameters / (12 * 512**2)), 512, 4, 64, 8)


def test_64_layers_in_31_hours_on_8_cards_is_impossible_on_either_form_factor():
    rate = 23_000 * 524_288 / (31 * 3600) / 8
    assert rate == pytest.approx(13_500, rel=0.01)
    pcie, sxm = (judge(D64, gpu(key), "bf16", rate, 2048) for key in ("h100-pcie", "h100-sxm"))
    assert pcie.word == sxm.word == "impossible"
    assert pcie.mfu == pytest.approx(150, abs=1)
    assert sxm.mfu == pytest.approx(114, abs=1)
    assert sxm.peak_share > 1.09
    assert "impossible" not in pcie.why
    assert "of the bf16 peak of NVIDIA H100 PCIe" in pcie.why


def test_the_same_at_40_percent_of_the_peak_is_plausible():
    assert judge(D64, gpu("h100-pcie"), "bf16", 3611, 2048).word == "plausible"


@pytest.mark.parametrize(("key", "rate"), [("rtx4090", 60_000), ("a100-80-sxm", 150_000)])
def test_rates_of_the_guides_are_impossible_at_600_million_parameters(key, rate):
    assert judge(plain(0.6e9), gpu(key), "bf16", rate, 8).word == "impossible"


def test_216_tflops_are_more_than_the_165_of_a_4090():
    told = judge(plain(0.6e9), gpu("rtx4090"), "bf16", 60_000, 8)
    assert told.peak_share == pytest.approx(216 / 165.2, rel=0.05)


def test_91_percent_of_an_h100_is_possible_but_above_anything_published():
    told = judge(plain(0.6e9), gpu("h100-sxm"), "bf16", 250_000, 8)
    assert told.word == "above anything published"
    assert told.mfu == pytest.approx(91, abs=1)


@pytest.mark.parametrize(
    ("key", "rate", "mfu"), [("rtx4090", 60_000, 41), ("a100-80-sxm", 150_000, 54), ("h100-sxm", 250_000, 28)]
)
def test_the_same_rates_are_plausible_at_187_million(key, rate, mfu):
    told = judge(plain(0.187e9), gpu(key), "bf16", rate, 8)
    assert told.word == "plausible"
    assert told.mfu == pytest.approx(mfu, abs=1)


@pytest.mark.parametrize(("steps", "word"), [(350, "slow"), (2000, "plausible"), (2600, "above anything published")])
def test_steps_per_hour_of_three_quarters_of_a_billion_on_8_gpus(steps, word):
    rate = steps * 1_048_576 / 3600 / 8
    assert judge(GPT_760M, gpu("h100-sxm"), "bf16", rate, 2048).word == word


def test_fp8_is_judged_by_its_own_peak_where_its_products_run():
    rate = 110_000.0
    bf16, fp8 = (judge(BILLION, gpu("h100-sxm"), word, rate, 2048) for word in ("bf16", "fp8-current"))
    assert bf16.word == "above anything published"
    assert fp8.peak_share < bf16.peak_share
    assert fp8.mfu == bf16.mfu
    assert fp8.mfu_own == pytest.approx(bf16.mfu_own / 2, rel=0.01)


def test_published_fp8_of_a_billion_parameters_is_plausible():
    assert judge(nanochat(26), gpu("h100-sxm"), "fp8-current", 92_500, 2048).word != "impossible"


def test_fp8_on_a_card_without_it_is_wrong_input():
    with pytest.raises(WrongInput, match="no hardware"):
        judge(BILLION, gpu("a100-80-sxm"), "fp8-current", 1000, 2048)
