"""DDP and DeepSpeed's stages behind one protocol: the same run whatever cuts it up. Real ranks over gloo on the CPU."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")
pytest.importorskip("deepspeed")
pytestmark = pytest.mark.slow

DDP = {"engine": "ddp"}
STAGES = [{"engine": "deepspeed", "stage": stage} for stage in range(4)]
OFFLOADED = [
    {"engine": "deepspeed", "stage": 2, "offload": "optimizer"},
    {"engine": "deepspeed", "stage": 3, "offload": "parameters"},
    {"engine": "deepspeed", "stage": 3, "offload": "both"},
]
LLAMA = {"family": "llama", "tied": False, "checkpointing": "full"}
REAL = {"real": True, "family": "llama", "act": "fp8"}


def name(job: dict) -> str:
    parts = [job["engine"], job.get("stage", 0), job.get("offload", ""), job.get("precision", ""),
             job.get("family", ""), job.get("act", ""), job.get("optim", "")]  # fmt: skip
    return "-".join(str(part) for part in parts if part != "")


def named(*jobs: dict, **more) -> list[dict]:
    wanted = [{**job, **more} for job in jobs]
    return [{"name": name(job), **job} for job in wanted]


ALONE = [
    *named(DDP, STAGES[2]),
    *named(DDP, STAGES[3], **LLAMA),
    *named(DDP, precision="bf16"),
    *named(DDP, STAGES[0], act="fp8", real=True, optim="muon"),
    *named(STAGES[2], act="contexts", precision="bf16"),
]
FP32 = named(DDP, *STAGES, *OFFLOADED)
UNTIED = named(DDP, STAGES[3], **LLAMA)
BF16 = named(DDP, STAGES[0], STAGES[2], STAGES[3], OFFLOADED[0], precision="bf16")
FP16 = named(DDP, STAGES[2], precision="fp16")
BROKEN = named(DDP, *STAGES, OFFLOADED[0], precision="bf16", act="broken")
TRIED = named(DDP, STAGES[0], STAGES[1], STAGES[3], precision="bf16", act="tried")
VIEWS = named(DDP, act="views")
OVERFLOWN = named(DDP, OFFLOADED[0], precision="fp16", act="broken")
FP8 = named(DDP, STAGES[0], STAGES[2], STAGES[3], precision="fp8-current", **REAL)
MUON = named(DDP, STAGES[0], act="fp8", real=True, optim="muon")


@pytest.fixture(scope="module")
def two(jobs):
    return jobs(2, [*FP32, *UNTIED, *BF16, *FP16, *BROKEN, *TRIED, *VIEWS, *OVERFLOWN, *FP8, *MUON])


@pytest.fixture(scope="module")
def alone(jobs):
    return jobs(1, ALONE)


@pytest.fixture(scope="module")
def four(jobs):
    return jobs(4, named(DDP, STAGES[2], STAGES[3]))


def ids(job: dict) -> str:
    return job["name"]


def furthest(one, other) -> float:
    return max(float((one[key] - other[key]).abs().max()) for key in one)


def close(seen: dict, expected: dict, losses: float, norms: float) -> None:
    assert seen["losses"] == pytest.approx(expected["losses"], abs=losses)
    assert seen["norms"] == pytest.approx(expected["norms"], rel=norms)


@pytest.mark.parametrize("job", FP32, ids=ids)
def test_two_ranks_of_every_engine_train_as_one_process(job, alone, two):
    seen, expected = two[job["name"]], alone["ddp-0"]
    close(seen, expected, 2e-6, 2e-6)
    assert seen["later"] == pytest.approx(expected["later"], abs=2e-6)
    assert seen["parameters"] == expected["parameters"]
    assert furthest(seen["before"], expected["before"]) == 0
    assert furthest(seen["after"], expected["after"]) < 2e-5
    assert min(expected["norms"][:3]) > 0.4  # beyond optim.clip: clipping took part


@pytest.mark.parametrize("job", FP32, ids=ids)
def test_evaluation_sees_the_whole_model_under_every_engine(job, alone, two):
    assert two[job["name"]]["evaluation"] == pytest.approx(alone["ddp-0"]["evaluation"], abs=2e-6)


@pytest.mark.parametrize("engine", ["ddp-0", "deepspeed-2", "deepspeed-3"])
def test_four_ranks_train_as_one_process(engine, alone, four):
    close(four[engine], alone["ddp-0"], 2e-6, 2e-6)
    assert four[engine]["parameters"] == alone["ddp-0"]["parameters"]
    assert furthest(four[engine]["after"], alone["ddp-0"]["after"]) < 2e-5


def test_one_rank_of_deepspeed_is_one_process_too(alone):
    close(alone["deepspeed-2"], alone["ddp-0"], 2e-6, 2e-6)


@pytest.mark.parametrize("job", UNTIED, ids=ids)
def test_an_untied_recomputed_llama_does_as_well(job, alone, two):
    expected = alone["ddp-0-llama"]
    close(two[job["name"]], expected, 2e-6, 2e-6)
    assert "head.weight" in two[job["name"]]["after"]
    assert "head.weight" not in alone["ddp-0"]["after"]


@pytest.mark.parametrize("job", BF16, ids=ids)
def test_bf16_stays_near_and_begins_from_exact_fp32_masters(job, alone, two):
    seen = two[job["name"]]
    close(seen, alone["ddp-0-bf16"], 5e-3, 2e-2)
    assert furthest(seen["before"], alone["ddp-0"]["before"]) == 0


@pytest.mark.parametrize("job", FP16, ids=ids)
def test_fp16_scales_its_losses_and_reports_them_unscaled(job, alone, two):
    close(two[job["name"]], alone["ddp-0"], 5e-3, 2e-2)
    assert two[job["name"]]["scale"] == 2.0**16


@pytest.mark.parametrize("job", BROKEN, ids=ids)
def test_a_step_that_is_not_finite_on_one_rank_is_never_applied_on_any(job, two):
    seen = two[job["name"]]
    assert all(not norm < float("inf") for norm in seen["norms"])
    assert all(seen["same"])
    assert seen["broken"] == seen["straight"]  # nothing of it stays behind: not in moments, not in sums


@pytest.mark.parametrize("job", TRIED, ids=name)
def test_a_micro_batch_tried_for_its_size_leaves_nothing_behind(job, two):
    seen = two[name(job)]
    assert seen["counted"] == 0
    assert seen["tried"]["losses"] == pytest.approx(seen["straight"]["losses"], abs=1e-3)
    assert seen["tried"]["norms"] == pytest.approx(seen["straight"]["norms"], rel=1e-2), "its gradient was 300 long"


def test_accumulated_gradients_lie_in_the_buckets_and_not_beside_them(two):
    """The first step fills in what the second rebuilds the buckets by."""
    assert two["ddp-0-views"]["outside"][2] == 0


@pytest.mark.parametrize("job", OVERFLOWN, ids=ids)
def test_an_fp16_overflow_halves_the_scale_and_nothing_else(job, two):
    seen = two[job["name"]]
    assert all(seen["same"])
    assert seen["scale"] == 2.0**12
    assert seen["broken"] == pytest.approx(seen["straight"], abs=1e-4)


def test_the_back_end_s_context_is_entered_by_every_micro_batch_with_its_step(alone):
    """8 windows: in step 0 one by one, in step 1 by twos; then one evaluation."""
    assert alone["deepspeed-2-bf16-contexts"]["seen"] == [(True, 0)] * 8 + [(True, 1)] * 4 + [(False, 2)]


@pytest.mark.parametrize("job", FP8, ids=ids)
def test_fp8_is_really_on_under_every_engine(job, two):
    seen, expected = two[job["name"]], two["ddp-0-fp8-current-llama-fp8"]
    assert seen["active"] == expected["active"] > 0
    close(seen, expected, 2e-2, 5e-2)


def test_muon_trains_alike_on_ddp_and_stage_0(alone, two):
    for seen in (alone["deepspeed-0-fp8-muon"], two["ddp-0-fp8-muon"], two["deepspeed-0-fp8-muon"]):
        close(seen, alone["ddp-0-fp8-muon"], 1e-3, 1e-2)


def test_deepspeed_starts_without_compiling_anything(two, extensions):
    """Its shared-memory operation for CPUs takes g++ half a minute."""
    assert not extensions.exists() or not any(extensions.rglob("*.so"))
