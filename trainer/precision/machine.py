"""What the precision is decided by: the device, its compute capability, and which libraries are there."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import metadata

EMULATE = "STOKER_FP8_EMULATE"  # 1: FP8 layers on a CPU with emulated arithmetic, to try the whole path without a GPU
PACKAGES = ("transformer-engine", "transformer_engine", "transformer-engine-torch")


@dataclass(frozen=True)
class Machine:
    """Facts only. capability and cuda are None on a CPU, te is None where Transformer Engine is not installed.

    probe: multiplies once, for real, in the precision named, and gives "" or why it does not work; None: cannot.
    """

    device: str  # cpu, cuda
    capability: tuple[int, int] | None = None
    cuda: tuple[int, int] | None = None
    te: tuple[int, ...] | None = None
    torch: tuple[int, int] = (2, 5)
    emulate: bool = False
    probe: Callable[[str], str] | None = field(default=None, compare=False, repr=False)


def look(device: str) -> Machine:
    """The machine this process runs on. device: cpu, or cuda with or without an index."""
    import torch

    te, version = _installed(), _pair(torch.__version__)
    if not device.startswith("cuda"):
        return Machine("cpu", te=te, torch=version, emulate=os.environ.get(EMULATE) == "1")
    major, minor = torch.cuda.get_device_capability(torch.device(device))
    cuda = _pair(torch.version.cuda) if torch.version.cuda else None
    return Machine("cuda", (major, minor), cuda, te, version, probe=_probe)


def _installed() -> tuple[int, ...] | None:
    """Transformer Engine's version from its metadata: importing it takes seconds and wants a driver (TE #3381)."""
    for package in PACKAGES:
        try:
            return numbers(metadata.version(package))
        except metadata.PackageNotFoundError:
            continue
    return None


def numbers(version: str) -> tuple[int, ...]:
    """(2, 20, 2) of "2.20.2+abc" or "2.20.2.dev0"; at least two numbers."""
    found = re.match(r"\d+(\.\d+)*", version)
    parts = tuple(int(part) for part in found.group().split(".")) if found else ()
    return parts + (0,) * (2 - len(parts))


def _pair(version: str) -> tuple[int, int]:
    major, minor = numbers(version)[:2]
    return major, minor


def _probe(name: str) -> str:
    from trainer.precision.te.probe import probe

    return probe(name)
