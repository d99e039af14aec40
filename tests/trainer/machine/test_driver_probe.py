"""The driver is asked through its own library, and a host below the floor is refused in seconds with the numbers."""

from __future__ import annotations

import json
import shutil
import subprocess
import time

import pytest

from trainer.errors import TrainerError
from trainer.machine import driver, preflight
from trainer.machine.driver import Driver

LIBCUDA = r"""
#include <string.h>
#include <stddef.h>
#include <unistd.h>
int cuDriverGetVersion(int *v) { *v = VERSION; return 0; }
int cuInit(unsigned f) { if (HANGS) sleep(600); return INIT; }
int cuDeviceGetCount(int *n) { *n = 2; return 0; }
int cuDeviceGet(int *d, int n) { *d = n; return 0; }
int cuDeviceGetName(char *s, int n, int d) { strncpy(s, d ? "Forge B" : "Forge A", n); return 0; }
int cuDeviceTotalMem_v2(size_t *b, int d) { *b = 80ul << 30; return 0; }
int cuDeviceGetAttribute(int *v, int a, int d) { *v = a == 75 ? 9 : a == 76 ? 0 : -1; return 0; }
"""
H100 = {"type": "H100", "count": 2, "compute_capability": "9.0", "memory_gb": 80}


@pytest.fixture
def libcuda(tmp_path, monkeypatch):
    """Makes a libcuda that answers as told, and a kernel module version."""
    compiler = shutil.which("cc")
    if not compiler:
        pytest.skip("no C compiler to make a libcuda with")

    def make(version: int, kernel: str | None = None, init: int = 0, hangs: int = 0) -> None:
        library = tmp_path / f"libcuda-{version}-{init}-{hangs}.so"
        flags = [f"-DVERSION={version}", f"-DINIT={init}", f"-DHANGS={hangs}", "-shared", "-fPIC", "-x", "c", "-"]
        subprocess.run([compiler, *flags, "-o", str(library)], input=LIBCUDA, text=True, check=True)
        file = tmp_path / "version"
        file.write_text(kernel or "")
        monkeypatch.setenv("STOKER_LIBCUDA", str(library))
        monkeypatch.setenv("STOKER_DRIVER_VERSION_FILE", str(file))

    return make


def profile(floor: int | None):
    return {"profile": "h100-fp8", "gpu": H100, "driver_floor": floor}


def test_the_library_tells_the_ceiling_and_the_gpus(libcuda):
    libcuda(12020, "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.129.03  Thu Oct 19 18:56:32 UTC 2023\n")
    found = driver.read()
    assert (found.version, found.branch, found.cuda, found.problem) == ("535.129.03", 535, 12020, None)
    assert [device["name"] for device in found.devices] == ["Forge A", "Forge B"]
    assert found.devices[0]["compute_capability"] == "9.0" and found.devices[0]["memory_bytes"] == 80 << 30


@pytest.mark.parametrize(("cuda", "branch"), [(12040, 550), (12045, 550), (13000, 580), (99000, 615), (9000, None)])
def test_without_the_kernel_module_the_branch_follows_from_the_cuda_version(libcuda, cuda, branch):
    libcuda(cuda)
    assert driver.read().branch == branch


def test_a_driver_below_the_floor_is_refused_with_both_numbers(libcuda, tmp_path, trainer):
    libcuda(12020, "535.129.03\n")
    (tmp_path / "profile.json").write_text(json.dumps(profile(580)))
    began = time.monotonic()
    done = trainer("preflight", "--profile", str(tmp_path / "profile.json"))
    assert time.monotonic() - began < 60
    assert done.returncode == 3
    assert "535.129.03 (CUDA up to 12.2)" in done.stderr and "R580" in done.stderr and "Traceback" not in done.stderr
    skipped = trainer("preflight", "--profile", str(tmp_path / "profile.json"), STOKER_SKIP_DRIVER_CHECK="1")
    assert skipped.returncode == 0


@pytest.mark.parametrize(
    ("compat", "runs"), [(["535.86"], True), (["535.183"], False), (["525.85"], False), ([], False)]
)
def test_an_older_data_centre_branch_runs_from_its_own_minor_version_on(libcuda, compat, runs):
    libcuda(12020, "535.129.03")
    wanted = {**profile(575), "driver_compat": compat}
    if runs:
        assert preflight.check(wanted, driver.read(), require_gpu=True) == []
    else:
        with pytest.raises(TrainerError, match="R575"):
            preflight.check(wanted, driver.read(), require_gpu=True)


@pytest.mark.parametrize("floor", [None, 535, 530])
def test_a_driver_at_or_above_the_floor_passes(libcuda, floor):
    libcuda(12020, "535.129.03")
    assert preflight.check(profile(floor), driver.read(), require_gpu=True) == []


def test_a_driver_that_fails_or_hangs_is_reported_not_waited_for(libcuda, monkeypatch):
    libcuda(12040, init=804)
    assert driver.read().problem == "cuInit answered CUDA error 804"
    monkeypatch.setattr(driver, "PROBE_SECONDS", 0.5)
    libcuda(12040, hangs=1)
    assert "no answer within" in driver.read().problem


def test_a_broken_library_is_a_problem_not_a_crash(tmp_path, monkeypatch):
    (tmp_path / "libcuda.so.1").write_text("not a library")
    monkeypatch.setenv("STOKER_LIBCUDA", str(tmp_path / "libcuda.so.1"))
    found = driver.read()
    assert not found.present and str(tmp_path) in found.problem


def test_a_missing_driver_is_a_warning_until_a_gpu_is_required():
    none = Driver(version="580.82.07", branch=580, problem="no host libcuda.so.1")
    (warning,) = preflight.check(profile(580), none, require_gpu=False)
    assert "2 x H100" in warning and "started without GPUs" in warning
    with pytest.raises(TrainerError, match="no NVIDIA driver answers") as caught:
        preflight.check(profile(580), none, require_gpu=True)
    assert "--gpus all" in caught.value.next_step and caught.value.exit_code == 3


def test_a_cpu_profile_asks_nothing():
    assert preflight.check({"profile": "cpu", "gpu": None}, Driver(), require_gpu=True) == []


def test_other_gpus_than_the_profile_was_made_for_are_named():
    device = {"name": "NVIDIA L4", "compute_capability": "8.9", "memory_bytes": 24 << 30}
    found = Driver(version="580.1", branch=580, cuda=13000, devices=[device])
    warnings = preflight.check(profile(580), found, require_gpu=True)
    assert len(warnings) == 2 and "made for 2" in warnings[0] and "8.9" in warnings[1]
