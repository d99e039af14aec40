"""The NVIDIA driver and GPUs of this machine, without nvidia-smi, whose text changes between driver branches."""

from __future__ import annotations

import ctypes
import platform
import re
from dataclasses import dataclass
from pathlib import Path

VERSION = re.compile(r"\b\d{3}\.\d+(?:\.\d+)?\b")


@dataclass(frozen=True, slots=True)
class HostDriver:
    """version: of the kernel module, '535.183.06'; cuda: what its libcuda can run, '12.2'; gpus: names."""

    version: str | None = None
    cuda: str | None = None
    gpus: tuple[str, ...] = ()


def read(root: Path = Path("/")) -> HostDriver:
    """What the files below `root` and libcuda say. Never raises."""
    version = next(filter(None, map(version_in, (root / "sys/module/nvidia/version", root / PROC / "version"))), None)
    return HostDriver(version, cuda(root), models(root))


PROC = "proc/driver/nvidia"


def version_in(path: Path) -> str | None:
    """'NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.183.06  Wed ...' -> '535.183.06'."""
    found = VERSION.search(text(path))
    return found[0] if found else None


def models(root: Path) -> tuple[str, ...]:
    """One name per GPU, from /proc/driver/nvidia/gpus/<address>/information."""
    names = []
    for path in sorted((root / PROC / "gpus").glob("*/information")):
        found = re.search(r"^Model:\s*(.+?)\s*$", text(path), re.MULTILINE)
        names.append(found[1] if found else "GPU")
    return tuple(names)


def cuda(root: Path) -> str | None:
    """cuDriverGetVersion, which asks no device and so does not wake one."""
    folders = (f"usr/lib/{platform.machine()}-linux-gnu", "usr/lib64", "usr/lib/wsl/lib", "usr/lib")
    for path in (root / folder / "libcuda.so.1" for folder in folders):
        if not path.is_file():
            continue
        try:
            number = ctypes.c_int()
            if ctypes.CDLL(str(path)).cuDriverGetVersion(ctypes.byref(number)) == 0 and number.value:
                return f"{number.value // 1000}.{number.value % 1000 // 10}"
        except (OSError, AttributeError):
            continue
    return None


def text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
