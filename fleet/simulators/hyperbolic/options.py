"""`GET /v2/on-demand/rental-options`: thirteen rows in the recorded shape; node figures and most prices are invented
(providers.md 3.3)."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass
class Option:
    """One row. left: how many are really there, which most rows do not tell; told: whether this one does."""

    row: dict[str, Any]
    left: int
    told: bool = False

    @property
    def form_factor(self) -> str:
        return str(self.row["gpuFormFactor"])

    @property
    def cents(self) -> int:
        return int(self.row["costPerHourCents"])

    def shown(self) -> dict[str, Any]:
        """The row as it is listed now."""
        return {**self.row, "totalAvailable": self.left} if self.told else dict(self.row)


@dataclass(frozen=True)
class Shape:
    """A row in short. cents: an hour of the whole option; link: connectionType[/ethernetVariant]."""

    gpu: str
    form: str
    count: int
    cents: int
    region: str
    link: str = "ethernet/normal"
    machine: str = "virtual-machine"
    enabled: bool = True
    told: int | None = None
    ram: int = 180
    storage: int = 750
    cpus: int = 28


SHAPES = (
    Shape("h100", "pcie", 1, 275, "ca-east-1"),
    Shape("h100", "pcie", 2, 550, "ca-east-1", ram=360, storage=1500, cpus=56),
    Shape("h100", "sxm5", 1, 319, "us-east-2", ram=185, storage=2500),
    Shape("h100", "sxm5", 1, 485, "eu-west-3", ram=185, storage=2500),
    Shape("h100", "sxm5", 1, 339, "ca-east-1", ram=185, storage=2500),  # PCIe and SXM under one key: ambiguous
    Shape("h100", "sxm5", 2, 640, "jp-east-1", ram=370, storage=5000, cpus=52),
    Shape("h100", "sxm5", 8, 2552, "us-east-1", "ethernet/rocev2", told=3, ram=1500, storage=12000, cpus=200),
    Shape("h100", "sxm5", 8, 2792, "eu-north-5", "infiniband", ram=1500, storage=12000, cpus=200),
    Shape("h200", "sxm5", 1, 399, "us-east-3", ram=200, storage=2800),
    Shape("h200", "sxm5", 8, 3936, "uk-southeast-3", "ethernet/rocev2", ram=2000, storage=25000, cpus=200),
    Shape("h200", "sxm5", 8, 3200, "eu-north-4", "infiniband", "bare-metal", ram=2000, storage=25000, cpus=2),
    Shape("rtx-6000-pro", "pcie", 1, 179, "us-east-3", ram=128, storage=720, cpus=24),
    Shape("rtx-6000-pro", "pcie", 2, 358, "us-east-3", enabled=False, ram=256, storage=1500, cpus=48),
)


def row(shape: Shape, drawn: random.Random) -> dict[str, Any]:
    """A row of the list, its optional fields absent where they were."""
    kind, _, variant = shape.link.partition("/")
    cpus = "cpuCount" if shape.machine == "bare-metal" else "vcpuCount"
    node = {"cpuModel": f"cpu-{drawn.choice('abcd')}", "gpuCount": shape.count, "ramGb": shape.ram}
    return {
        "enabled": shape.enabled,
        "costPerHourCents": shape.cents,
        **({"providerCostPerHourCents": drawn.randrange(50, shape.cents)} if drawn.random() < 0.8 else {}),
        "region": shape.region,
        "gpuCount": shape.count,
        "gpuType": shape.gpu,
        "gpuFormFactor": shape.form,
        "connectionType": kind,
        **({"ethernetVariant": variant} if variant else {}),
        "machineType": shape.machine,
        "nodes": [{**node, "storageGb": shape.storage, cpus: shape.cpus}],
    }


def stock(seed: int, each: int = 4) -> list[Option]:
    """All rows; the same ones for the same seed. each: how many there are of one that does not tell."""
    drawn = random.Random(f"hyperbolic-{seed}")
    return [Option(row(one, drawn), one.told or each, one.told is not None) for one in SHAPES]


def matching(options: Sequence[Option], gpu: str, region: str, count: int, network: str) -> list[Option]:
    """What a create can mean: it takes no form factor, so this may be two rows (providers.md 3.3). Exact match."""
    return [
        option
        for option in options
        if option.row["enabled"]
        and option.left > 0
        and option.row["machineType"] == "virtual-machine"
        and (option.row["gpuType"], option.row["region"], option.row["gpuCount"]) == (gpu, region, count)
        and option.row["connectionType"] == network
    ]
