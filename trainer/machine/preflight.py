"""Whether this host can run this image's profile: in seconds, before anything is loaded, with the numbers.

The base image does not refuse old drivers (NVIDIA_REQUIRE_CUDA=cuda>=9.0): without this the mismatch shows at the
first CUDA call, as "Error 804" (gpustack#1254, NVIDIA-NeMo/Megatron-Bridge#1553).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trainer.errors import OUTSIDE_FAILED, TrainerError
from trainer.machine.driver import Driver

SKIP = "STOKER_SKIP_DRIVER_CHECK=1 goes on regardless"


def check(profile: Mapping[str, Any], driver: Driver, require_gpu: bool) -> list[str]:
    """Gives back warnings. Raises TrainerError when the driver is below the floor, or missing and required."""
    gpu, name = profile.get("gpu"), profile.get("profile", "?")
    if not gpu:
        return []
    floor = profile.get("driver_floor")
    if not driver.present:
        what = f"profile {name} needs {gpu['count']} x {gpu['type']}, but no NVIDIA driver answers: {driver.problem}"
        if driver.version:
            what += f"; the host's kernel module is {driver.version}, so the container was started without GPUs"
        if require_gpu:
            raise TrainerError(what, f"start the container with --gpus all, or rent a GPU host; {SKIP}", OUTSIDE_FAILED)
        return [what]
    if floor and driver.branch and driver.branch < floor and not _compatible(driver, profile):
        what = f"the host's NVIDIA driver is {driver.describe()}, profile {name} needs R{floor} or newer"
        raise TrainerError(what, f"rent a host with driver {floor}+, or use an older base; {SKIP}", OUTSIDE_FAILED)
    return _differences(gpu, driver)


def _compatible(driver: Driver, profile: Mapping[str, Any]) -> bool:
    """Older branches of data-centre drivers run a newer CUDA 12 through the image's compat libraries, each from a
    minor version on (NVIDIA release notes 24.10). GeForce has none: its profiles list none."""
    have = _numbers(driver.version or "")
    return any(have[:1] == need[:1] and have >= need for need in map(_numbers, profile.get("driver_compat") or ()))


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())


def _differences(gpu: Mapping[str, Any], driver: Driver) -> list[str]:
    warnings = [driver.problem] if driver.problem else []
    if len(driver.devices) < gpu["count"]:
        warnings.append(f"{len(driver.devices)} GPUs here, the profile was made for {gpu['count']}")
    for device in driver.devices:
        wanted = str(gpu["compute_capability"])
        if device["compute_capability"] != wanted:
            found = f"{device['name']} with compute capability {device['compute_capability']}"
            warnings.append(f"{found} here, the profile was made for {gpu['type']} with {wanted}")
            break
    return warnings
