"""What a run needs of a machine comes from its profile, its base image and its plan."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleet.deploy.needs import needs_of
from profiles import bases, gpus
from profiles.errors import WrongInput
from profiles.load import load, names


def test_a_profile_needs_its_own_gpus_and_the_driver_of_its_base():
    needs = needs_of(load("h100-fp8"), disk_bytes=123.4e9)
    assert (needs.gpus, needs.count, needs.disk_gb) == (("h100-sxm",), 8, 124)
    assert needs.vram_mib == gpus.gpu("h100-sxm").memory_mib
    floor = needs.floors["h100-sxm"]
    assert floor is not None and floor.accepts("575.57.08") and not floor.accepts("550.54.14")
    assert needs.cuda == "12.9"
    assert needs.nvlink


def test_the_disk_is_what_the_plan_needs_or_the_profile_asks_for_whichever_is_more():
    needs = needs_of(load("h100-fp8"), disk_bytes=150e9)
    assert needs.disk_at("vast") == 200  # the profile's hint
    assert needs.disk_at("runpod") == 150
    assert needs.disk_at("hyperbolic") == 150


def test_an_image_with_a_newer_cuda_than_its_branch_asks_for_the_branch_s_own():
    """CUDA 13.3 runs on R580 by minor-version compatibility, and R580 reports CUDA 13.0."""
    rows = bases.table()["drivers"]
    assert rows["13.3"]["branch"] == rows["13.0"]["full"] == 580
    from fleet.deploy.needs import least_cuda

    facts = bases.BaseFacts("x", True, {"cuda": bases.Fact("13.3.1", "seen")})
    assert least_cuda(facts) == "13.0"
    assert least_cuda(bases.BaseFacts("x", False)) == ""


def test_any_gpu_means_those_that_the_image_and_its_precision_run_on_with_as_much_memory():
    needs = needs_of(load("h100-fp8"), any_gpu=True)
    assert needs.gpus[0] == "h100-sxm" and "h200" in " ".join(needs.gpus)
    for key in needs.gpus[1:]:
        assert gpus.gpu(key).memory_mib >= gpus.gpu("h100-sxm").memory_mib
        assert gpus.gpu(key).compute_capability >= (8, 9), "FP8 has no hardware below"
    assert not needs.nvlink


def test_named_gpus_stand_instead_of_the_profile_s():
    needs = needs_of(load("h100-fp8"), named=("h100-pcie",), counts=2)
    assert (needs.gpus, needs.count) == (("h100-pcie",), 2)


def test_a_profile_without_gpus_takes_any_machine_and_refuses_named_gpus():
    assert needs_of(load("cpu")).gpus == ()
    with pytest.raises(WrongInput, match="processor"):
        needs_of(load("cpu"), named=("h100-sxm",))


@pytest.mark.parametrize("name", names())
def test_every_shipped_profile_has_needs(name: str):
    needs = needs_of(load(name), disk_bytes=30e9)
    assert needs.disk_at("runpod") >= 30
    assert set(needs.floors) == set(needs.gpus)


def test_an_unknown_gpu_is_told_with_the_nearest(tmp_path: Path):
    with pytest.raises(WrongInput) as refused:
        needs_of(load("h100-fp8"), named=("h100-smx",))
    assert "h100-sxm" in refused.value.next_step
