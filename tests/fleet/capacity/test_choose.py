"""The settings that are chosen: they fit, nothing faster was left lying, and fewer tricks win at equal speed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fleet.capacity.choose import SHARDED, WORTH, per_gpu, settle
from fleet.capacity.families import nanochat
from fleet.capacity.memory.memory import memory
from fleet.capacity.models import model
from fleet.capacity.speed.speed import speed
from fleet.capacity.workload import Workload
from profiles.errors import WrongInput
from profiles.gpus import gpu

SMALL = Workload(model("gpt2"), 1024, 512)
LARGE = Workload(model("llama-2-13b"), 4096, 256)


def test_a_small_model_is_trained_plainly():
    found = settle(SMALL, gpu("h100-sxm"), 8)
    assert (found.verdict, found.setup.engine, found.setup.zero, found.setup.checkpointing) == (
        "fits",
        "ddp",
        0,
        "none",
    )
    assert found.setup.step_tokens == SMALL.step_tokens


def test_a_model_whose_state_no_card_holds_is_sharded():
    found = settle(LARGE, gpu("h100-sxm"), 8)
    assert found.verdict == "fits" and found.setup.zero == 3 and found.setup.engine == "zero"
    assert found.setup.step_tokens == LARGE.step_tokens
    assert memory(found.setup).high <= found.memory.capacity


@pytest.mark.parametrize("workload", [SMALL, LARGE], ids=["small", "large"])
@pytest.mark.parametrize("name", ["a100-40-sxm", "h100-sxm", "b200"])
def test_no_other_setting_that_fits_is_much_faster(workload: Workload, name: str):
    found = settle(workload, gpu(name), 8)
    assert found.speed
    for zero in (0, 1, 2, 3):
        for kept in ("none", "selective", "full"):
            for micro in (1, 2, 4, 8, 16, 32):
                other = replace(
                    found.setup,
                    zero=zero,
                    engine="zero" if zero else "ddp",
                    checkpointing=kept,
                    micro_batch=micro,
                    accumulation=max(1, workload.batch // 8 // micro),
                )
                if memory(other).verdict == "fits":
                    most = SHARDED if zero and not found.setup.zero else WORTH
                    assert speed(other).formula < 1.02 * most * found.speed.formula, (zero, kept, micro)


def test_one_gpu_shards_nothing():
    assert settle(SMALL, gpu("h100-sxm"), 1).setup.zero == 0


def test_muon_is_not_sharded():
    assert settle(SMALL.with_(optimizer="muon"), gpu("rtx4090"), 8).setup.zero == 0


def test_what_was_asked_for_is_kept():
    found = settle(SMALL.with_(zero=2, checkpointing="full", micro_batch=4, precision="bf16"), gpu("h100-sxm"), 8)
    setup = found.setup
    assert (setup.zero, setup.checkpointing, setup.micro_batch, setup.precision) == (2, "full", 4, "bf16")
    assert setup.accumulation == 512 // 8 // 4


def test_what_cannot_fit_is_refused_with_how_much_is_missing():
    found = settle(LARGE, gpu("rtx4090"), 1)
    assert found.verdict == "refused" and found.speed is None and "times what it has" in found.why


def test_a_batch_that_does_not_divide_names_those_that_do():
    with pytest.raises(WrongInput, match="does not divide among 8 GPUs") as wrong:
        per_gpu(SMALL.with_(batch=100), 8)
    assert wrong.value.next_step == "--batch 96 or 104"
    with pytest.raises(WrongInput) as wrong:
        per_gpu(SMALL.with_(micro_batch=3), 8)
    assert wrong.value.next_step == "--batch 504 or 528"
    with pytest.raises(WrongInput, match="does not divide") as wrong:
        per_gpu(SMALL.with_(batch=4), 8)
    assert wrong.value.next_step == "--batch 8"


def test_precision_is_the_trainers_own_choice():
    wide = SMALL.with_(shape=nanochat(24), length=2048)
    assert settle(wide, gpu("h100-sxm"), 8).setup.precision == "fp8-current"
    assert settle(wide, gpu("a100-80-sxm"), 8).setup.precision == "bf16"
    assert settle(SMALL, gpu("h100-sxm"), 8).setup.precision == "bf16", "768 is too narrow for FP8 to pay"


def test_fp8_on_an_a100_is_refused_and_bf16_named():
    with pytest.raises(WrongInput, match="fp8-current does not run on NVIDIA A100") as wrong:
        settle(SMALL.with_(precision="fp8"), gpu("a100-80-sxm"), 8)
    assert "bf16" in wrong.value.next_step


def test_an_unknown_precision_names_the_nearest():
    with pytest.raises(WrongInput, match="unknown precision") as wrong:
        settle(SMALL.with_(precision="bf61"), gpu("h100-sxm"), 8)
    assert "bf16" in wrong.value.next_step


def test_8_by_4_by_2048_are_65536_tokens_and_524288_need_8_micro_batches_a_step():
    """seeds.md, C5: a guide counts the first as the second."""
    work = Workload(nanochat(24), 2048, 256, micro_batch=4)
    setup = settle(work, gpu("h100-sxm"), 8).setup
    assert (setup.step_tokens, setup.accumulation) == (524_288, 8)
    assert setup.step_tokens // setup.accumulation == 65_536
