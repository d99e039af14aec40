"""The NVIDIA driver of the host: its version, its CUDA ceiling, its GPUs. Without torch, and without nvidia-smi, whose
text changes (driver branch 610 renamed a field and broke five parsers: vast-ai/base-image, ADR 0024).

The host's libcuda is asked in a child process: loading it here would hide the compat libraries from torch, which
finds a library that is already loaded by its soname; and a driver that hangs must not hang us.
"""

from __future__ import annotations

import ctypes
import json
import os
import platform
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PROBE_SECONDS = 20.0
KERNEL_FILES = ("/sys/module/nvidia/version", "/proc/driver/nvidia/version")
# first driver branch that reports a CUDA version (CUDA toolkit release notes, "CUDA Toolkit and Corresponding Driver
# Versions"); only used where the kernel module's own version cannot be seen (gVisor, WSL)
BRANCH_OF_CUDA = {
    11000: 450, 11010: 455, 11020: 460, 11030: 465, 11040: 470, 11050: 495, 11060: 510, 11070: 515, 11080: 520,
    12000: 525, 12010: 530, 12020: 535, 12030: 545, 12040: 550, 12050: 555, 12060: 560, 12070: 565, 12080: 570,
    12090: 575, 13000: 580, 13010: 590, 13020: 595, 13030: 610, 13040: 615,
}  # fmt: skip


@dataclass
class Driver:
    """What the host offers. cuda: as cuDriverGetVersion gives it (12040 is 12.4); branch: 535 for 535.129.03."""

    version: str | None = None
    cuda: int | None = None
    branch: int | None = None
    library: str | None = None
    devices: list[dict[str, Any]] = field(default_factory=list)
    problem: str | None = None

    @property
    def present(self) -> bool:
        """Whether CUDA programs can start here at all."""
        return self.cuda is not None

    def describe(self) -> str:
        """One phrase with the numbers."""
        cuda = f"CUDA up to {self.cuda // 1000}.{self.cuda % 1000 // 10}" if self.cuda else "no CUDA"
        return f"{self.version or f'branch R{self.branch}'} ({cuda})"


def read() -> Driver:
    """Asks the host. Never raises; what went wrong stands in `problem`."""
    driver = Driver(version=_kernel_version())
    driver.library = host_library()
    if driver.library is None:
        driver.problem = "no host libcuda.so.1 in this container or machine"
    else:
        _ask_library(driver, driver.library)
    if driver.version:
        driver.branch = int(driver.version.split(".")[0])
    elif driver.cuda:
        driver.branch = max((branch for cuda, branch in BRANCH_OF_CUDA.items() if cuda <= driver.cuda), default=None)
    return driver


def host_library() -> str | None:
    """Path of the host's libcuda as the container runtime mounts it; never the compat copy. STOKER_LIBCUDA wins."""
    chosen = os.environ.get("STOKER_LIBCUDA")
    folders = (f"/usr/lib/{platform.machine()}-linux-gnu", "/usr/lib64", "/usr/lib/wsl/lib", "/usr/lib")
    candidates = [chosen] if chosen is not None else [f"{folder}/libcuda.so.1" for folder in folders]
    return next((path for path in candidates if Path(path).is_file()), None)


def _kernel_version() -> str | None:
    files = os.environ.get("STOKER_DRIVER_VERSION_FILE")
    for path in [files] if files is not None else KERNEL_FILES:
        try:
            words = Path(path).read_text(encoding="utf-8").split()
        except OSError:
            continue
        for word in words:  # '535.129.03' alone, or after '... Kernel Module'
            parts = word.split(".")
            if len(parts) >= 2 and all(part.isdigit() for part in parts):
                return word
    return None


def _ask_library(driver: Driver, library: str) -> None:
    command = [sys.executable, "-m", "trainer.machine.driver", library]
    paths = [str(Path(__file__).parent.parent), os.environ.get("PYTHONPATH", "")]
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=PROBE_SECONDS,
            env=environ,
            check=False,
        )
        answer = json.loads(done.stdout)
    except subprocess.TimeoutExpired:
        driver.problem = f"{library} gave no answer within {PROBE_SECONDS:.0f} s"
    except ValueError:
        driver.problem = f"{library} broke the probe (exit {done.returncode})"
    else:
        driver.cuda, driver.devices, driver.problem = answer["cuda"], answer["devices"], answer["problem"]


def probe(path: str) -> dict[str, Any]:
    """Asks one libcuda, in this process: CUDA version, devices with compute capability and memory in bytes."""
    answer: dict[str, Any] = {"cuda": None, "devices": [], "problem": None}
    try:
        cuda = ctypes.CDLL(path)
        value = ctypes.c_int()
        code = cuda.cuDriverGetVersion(ctypes.byref(value))
        if code or not value.value:
            return {**answer, "problem": f"cuDriverGetVersion of {path} answered {code}, version {value.value}"}
        answer["cuda"] = value.value
        code = cuda.cuInit(0)
        if code:
            return {**answer, "problem": f"cuInit answered CUDA error {code}"}
        cuda.cuDeviceGetCount(ctypes.byref(value))
        answer["devices"] = [_device(cuda, number) for number in range(value.value)]
    except (OSError, AttributeError) as error:
        answer["problem"] = f"{path}: {error}"
    return answer


def _device(cuda: ctypes.CDLL, number: int) -> dict[str, Any]:
    handle, major, minor = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
    memory = ctypes.c_size_t()
    name = ctypes.create_string_buffer(128)
    cuda.cuDeviceGet(ctypes.byref(handle), number)
    cuda.cuDeviceGetName(name, len(name), handle)
    cuda.cuDeviceTotalMem_v2(ctypes.byref(memory), handle)
    cuda.cuDeviceGetAttribute(ctypes.byref(major), 75, handle)  # COMPUTE_CAPABILITY_MAJOR
    cuda.cuDeviceGetAttribute(ctypes.byref(minor), 76, handle)
    capability = f"{major.value}.{minor.value}"
    return {"name": name.value.decode(), "compute_capability": capability, "memory_bytes": memory.value}


if __name__ == "__main__":
    print(json.dumps(probe(sys.argv[1])))
