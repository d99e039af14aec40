"""What a pod costs in each state (providers.md 1.12, 0.2): USD per hour, by kind, exactly."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from fleet.simulators.runpod.account import MONTH
from fleet.simulators.runpod.catalogue import CPUS, GPUS

DISK = Decimal("0.10")  # USD per GB and month, container disk and volume disk of a running pod
STOPPED = Decimal("0.20")  # the volume disk of a stopped one


def listed(facts: Mapping[str, Any]) -> Decimal:
    """USD per hour of the pod's GPUs or CPUs, as the catalogue has it."""
    if facts.get("gpu"):
        gpu = GPUS[facts["gpu"]["id"]]
        each = gpu.secure if facts["cloud"] == "SECURE" else gpu.community
        return (each or gpu.secure) * int(facts["gpu"]["count"])
    return CPUS[facts["cpu"]["id"]].price * int(facts["cpu"]["vcpuCount"])


def running(facts: Mapping[str, Any]) -> dict[str, Decimal]:
    """From the 201 on (invented: the dearest answer to open question 8)."""
    size = int(facts["disk"]) + _volume(facts)
    return {"gpu" if facts.get("gpu") else "cpu": facts["price"], "disk": size * DISK / MONTH}


def stopped(facts: Mapping[str, Any]) -> dict[str, Decimal]:
    """The container disk is free and wiped, the volume disk costs double."""
    return {"disk": _volume(facts) * STOPPED / MONTH}


def _volume(facts: Mapping[str, Any]) -> int:
    return int(facts["mounts"].get("persistent", {}).get("size", 0))
