"""What the seed documents claim, held against the chips (seeds.md part 2, planning.md section 3)."""

from __future__ import annotations

import pytest

from fleet.capacity.finish.claim import claimed, gpu_dollars, steps_per_hour
from profiles.gpus import gpu

STEP = 1_048_576


@pytest.mark.parametrize(("steps", "per_gpu", "tflops", "share", "verdict"), [
    (350, 12.7e3, 70, 0.070, "plausible"),
    (2000, 72.8e3, 398, 0.402, "plausible"),
    (2500, 91.0e3, 498, 0.503, "doubtful"),
])  # fmt: skip
def test_c13_2500_steps_an_hour_are_the_very_top_of_what_is_published(gpt2, steps, per_gpu, tflops, share, verdict):
    claim = claimed(gpt2, gpu("h100-sxm"), 8, 2048, steps * STEP, 1.0)
    assert claim.per_gpu == pytest.approx(per_gpu, rel=4e-3)
    assert claim.tflops == pytest.approx(tflops, abs=0.6)
    assert claim.share == pytest.approx(share, abs=1e-3)
    assert claim.verdict == verdict


def test_c6_23000_steps_of_524288_in_31_hours_need_150_percent_of_a_pcie_card(d64):
    claim = claimed(d64, gpu("h100-pcie"), 8, 2048, 23_000 * 524_288, 31)
    assert claim.tokens_per_second == pytest.approx(108e3, rel=2e-3)
    assert claim.tflops == pytest.approx(1131, rel=2e-3)
    assert claim.share == pytest.approx(1.50, abs=0.005)
    assert claim.verdict == "impossible"


def test_c6_an_sxm_card_cannot_either(d64):
    assert claimed(d64, gpu("h100-sxm"), 8, 2048, 23_000 * 524_288, 31).share == pytest.approx(1.14, abs=0.005)


def test_c7_50k_tokens_a_second_are_343_steps_an_hour_and_730_need_106k():
    """Theirs: both at once."""
    assert steps_per_hour(50e3, 524_288) == pytest.approx(343, abs=0.5)
    assert steps_per_hour(106.3e3, 524_288) == pytest.approx(730, abs=0.5)


def test_c5_8_by_4_by_2048_are_65536_tokens_and_524288_need_8_accumulation_steps(setup):
    from dataclasses import replace

    assert replace(setup, micro_batch=4, accumulation=1).step_tokens == 65_536
    assert replace(setup, micro_batch=4, accumulation=8).step_tokens == 524_288


def test_the_budget_of_the_31_hour_plan_adds_up():
    assert gpu_dollars(31, 8, 4.0) == 992


def test_newer_gpus_are_held_to_hopper_s_best_and_older_ones_to_ampere_s(gpt2):
    assert claimed(gpt2, gpu("b200"), 1, 2048, 1e9, 1).best == 0.50
    assert claimed(gpt2, gpu("a100-80-sxm"), 1, 2048, 1e9, 1).best == 0.64
