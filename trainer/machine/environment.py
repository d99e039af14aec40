"""The environment report: what this machine and image really are, as JSON. Works without torch and without a GPU."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from trainer import __version__
from trainer.machine import driver, limits

IMPORT_SECONDS = 180.0
# import name -> distribution names, the first one found counts (NGC calls Triton pytorch-triton in 25.11)
LIBRARIES = {
    "torch": ("torch",),
    "triton": ("triton", "pytorch-triton"),
    "transformer_engine": ("transformer-engine", "transformer_engine"),
    "flash_attn": ("flash-attn", "flash_attn"),
    "numpy": ("numpy",),
    "deepspeed": ("deepspeed",),
}


def report(folder: Path, imports: bool = False) -> dict[str, Any]:
    """Everything known of this place. folder: for the disk figures; imports: really import each library (minutes)."""
    return {
        "trainer": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "os": _os_release(),
        "libraries": {name: _library(name, names, imports) for name, names in LIBRARIES.items()},
        "torch": _torch(),
        "driver": asdict(driver.read()),
        "limits": limits.report(folder),
        "container": _container(),
    }


def _library(name: str, distributions: tuple[str, ...], imports: bool) -> dict[str, Any] | None:
    """Version from the metadata, which is what pins compare with (torch.__version__ is spelled differently on NGC)."""
    if importlib.util.find_spec(name) is None:
        return None
    entry: dict[str, Any] = {"version": None}
    for distribution in distributions:
        try:
            entry["version"] = importlib.metadata.version(distribution)
            break
        except importlib.metadata.PackageNotFoundError:
            continue
    if imports:
        entry["imports"] = _imports(name)
    return entry


def _imports(name: str) -> bool | str:
    """True, or the last line of what went wrong. In a child: a broken ABI kills the process that tries."""
    command = [sys.executable, "-c", f"import {name}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=IMPORT_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return f"no answer within {IMPORT_SECONDS:.0f} s"
    return done.returncode == 0 or (done.stderr.strip().splitlines() or [f"exit {done.returncode}"])[-1]


def _torch() -> dict[str, Any] | None:
    """What torch says of itself; None without torch, `problem` when it does not import."""
    try:
        import torch
    except ModuleNotFoundError as error:
        return None if error.name == "torch" else {"problem": str(error)}
    except Exception as error:  # a broken library in its import may raise anything; the report must still come
        return {"problem": f"{type(error).__name__}: {error}"}
    answer: dict[str, Any] = {
        "version": torch.__version__,
        "cuda": torch.version.cuda,
        "threads": torch.get_num_threads(),
    }
    answer["cudnn"] = torch.backends.cudnn.version()
    answer["nccl"] = _nccl(torch)
    answer["gpus"] = []
    if torch.cuda.is_available():
        answer["arch_list"] = torch.cuda.get_arch_list()
        for number in range(torch.cuda.device_count()):
            device = torch.cuda.get_device_properties(number)
            capability = f"{device.major}.{device.minor}"
            entry = {"name": device.name, "compute_capability": capability, "memory_bytes": device.total_memory}
            answer["gpus"].append(entry)
    return answer


def _nccl(torch: Any) -> str | None:
    if not torch.distributed.is_available() or not torch.distributed.is_nccl_available():
        return None
    return ".".join(str(part) for part in torch.cuda.nccl.version())


def _os_release() -> str | None:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME")
    except OSError:
        return None


def _container() -> dict[str, Any]:
    """Facts of the base image, from its environment; never the whole environment, which holds keys."""
    names = ("NVIDIA_PYTORCH_VERSION", "CUDA_VERSION", "CUDNN_VERSION", "NCCL_VERSION", "TRANSFORMER_ENGINE_VERSION")
    return {name.lower(): os.environ[name] for name in names if name in os.environ}
