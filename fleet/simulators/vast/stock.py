"""The machines of the simulated market, and the slices they are offered in. All figures are invented; the fields, their
types and units are those of providers.md 2.4 and of the OpenAPI file's example."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from fleet.simulators.vast.queries import driver

FIRST_ASK, FIRST_MACHINE = 12_345_600, 88_000


@dataclass(frozen=True)
class Kind:
    """A GPU as Vast names it. ram: MB of one; capability: x 100; usd: an hour of one."""

    name: str
    ram: int
    capability: int
    usd: float
    sizes: tuple[int, ...]
    machines: int
    bandwidth: float  # GB/s of its memory
    flops: float


KINDS = (
    Kind("RTX 4090", 24564, 890, 0.35, (1, 2, 4, 8), 6, 1008.0, 82.6),
    Kind("RTX 5090", 32607, 1200, 0.55, (1, 2, 4), 3, 1792.0, 104.8),
    Kind("RTX 3090", 24576, 860, 0.18, (1, 2), 3, 936.0, 35.6),
    Kind("RTX 6000Ada", 49140, 890, 0.72, (1, 2), 2, 960.0, 91.1),
    Kind("A100 SXM4", 81920, 800, 0.95, (1, 4, 8), 3, 2039.0, 19.5),
    Kind("H100 PCIE", 81559, 900, 1.95, (1, 2), 2, 2039.0, 51.2),
    Kind("H100 SXM", 81559, 900, 2.10, (1, 2, 4, 8), 4, 3350.0, 66.9),
    Kind("H200", 143771, 900, 2.60, (1, 8), 2, 4800.0, 66.9),
)
# "strings vary, ', US' happens" (providers.md 2.4)
PLACES = ("Sweden, SE", "California, US", ", US", "Texas, US", "Quebec, CA", "Germany, DE", "Taiwan, TW")
DRIVERS = (("570.86.15", 12.8), ("580.95.05", 13.0), ("550.54.15", 12.4), ("535.183.06", 12.2))


@dataclass
class Ask:
    """One slice on offer. row: what a search shows, without prices of a disk; base, bid: USD/h of the slice."""

    row: dict[str, Any]
    base: Decimal
    bid: Decimal
    storage: Decimal
    holder: int | None = None  # the contract that runs on it
    listed: bool = True  # taken off by an admin, or by a fault

    @property
    def id(self) -> int:
        return int(self.row["id"])

    @property
    def machine(self) -> int:
        return int(self.row["machine_id"])


def gpu_names() -> list[str]:
    """What the CLI asks for when it is imported."""
    return [kind.name for kind in KINDS]


def market(seed: int, now: float) -> dict[int, Ask]:
    """All slices by ask id: the same ones for the same seed."""
    drawn = random.Random(f"vast-{seed}")
    asks: dict[int, Ask] = {}
    machine = FIRST_MACHINE
    for kind in KINDS:
        for number in range(kind.machines):
            machine += 1
            host = machine_row(drawn, kind, machine, now, trusted=number == 0)
            for ask in slices(drawn, kind, host, FIRST_ASK + len(asks)):
                asks[ask.id] = ask
    return asks


def machine_row(drawn: random.Random, kind: Kind, machine: int, now: float, trusted: bool) -> dict[str, Any]:
    """What all slices of one machine share. trusted: verified, new driver, ports: each GPU has one such machine."""
    version, cuda = DRIVERS[0] if trusted else drawn.choice(DRIVERS)
    verification = "verified" if trusted else drawn.choice(["verified", "verified", "unverified", "deverified"])
    reliability = round(0.995 if trusted else drawn.uniform(0.85, 0.999), 4)
    days = 60 if trusted else drawn.choice([0.5, 3, 14, 60])
    cores = drawn.choice([32, 64, 128])
    return {
        "machine_id": machine,
        "host_id": 55_000 + machine % 7,
        "bundle_id": 987_654_000 + machine,
        "resource_type": "gpu",
        "gpu_name": kind.name,
        "gpu_arch": "nvidia",
        "gpu_ram": kind.ram,
        "gpu_lanes": 16,
        "gpu_mem_bw": kind.bandwidth,
        "gpu_max_power": 450,
        "gpu_max_temp": 88,
        "gpu_display_active": False,
        "compute_cap": kind.capability,
        "cuda_max_good": cuda,
        "driver_version": version,
        "driver_vers": driver(version),
        "cpu_arch": "amd64",
        "cpu_name": "cpu-a",
        "cpu_ghz": 3.1,
        "has_avx": 1,
        "cpu_cores": None if drawn.random() < 0.1 else cores,
        "cpu_ram": cores * 4000,
        "disk_space": 1600.0 if trusted else float(drawn.choice([80, 400, 2000])),
        "disk_name": "disk-a",
        "disk_bw": 2500.0,
        "bw_nvlink": 300.0 if "SXM" in kind.name else 0.0,
        "pci_gen": 4.0,
        "pcie_bw": 24.5,
        "mobo_name": "board-a",
        "os_version": "22.04",
        "inet_up": 800.0 if trusted else drawn.choice([50.0, 400.0, 3000.0]),
        "inet_down": 900.0 if trusted else drawn.choice([80.0, 600.0, 5000.0]),
        "inet_up_cost": 0.005,
        "inet_down_cost": 0.003,
        "reliability": reliability,
        "reliability2": reliability,
        "verification": verification,
        "geolocation": drawn.choice(PLACES),
        "geolocode": drawn.randrange(10**8),
        "public_ipaddr": f"203.0.113.{machine % 250}",
        "direct_port_count": 40 if trusted else drawn.choice([0, 10, 250]),
        "static_ip": trusted or drawn.random() < 0.5,
        "start_date": now - 86_400.0 * 30,
        "end_date": now + 86_400.0 * days,
        "hosting_type": 1 if trusted else drawn.choice([0, 1]),
        "external": False,
        "vms_enabled": False,
        "webpage": None,
        "credit_discount_max": 0.1,
        "_cores": cores,
        "_capacity": kind.sizes[-1],
        "_flops": kind.flops,
    }


def slices(drawn: random.Random, kind: Kind, host: dict[str, Any], first: int) -> Iterator[Ask]:
    """The machine whole, and halved as long as that gives a size on offer: one GPU cannot be rented twice."""
    usd = Decimal(str(round(kind.usd * drawn.uniform(0.9, 1.6), 3)))
    storage = Decimal(str(drawn.choice([0.10, 0.15, 0.20, 0.30])))
    for number, gpus in enumerate(kind.sizes):
        shared = {name: value for name, value in host.items() if not name.startswith("_")}
        share = gpus / host["_capacity"]
        base = usd * gpus
        score = round(drawn.uniform(50, 400), 1)  # no order of prices: skypilot#4904
        row = {
            **shared,
            "id": first + number,
            "ask_contract_id": first + number,
            "num_gpus": gpus,
            "gpu_frac": round(share, 4),
            "gpu_total_ram": kind.ram * gpus,
            "cpu_cores_effective": round(host["_cores"] * share, 2),
            "disk_space": round(host["disk_space"] * share, 1),
            "total_flops": round(host["_flops"] * gpus, 2),
            "dlperf": round(host["_flops"] * gpus * 0.9, 2),
            "score": score,
            "avail_vol_ask_id": 28_908_000 + host["machine_id"],
            "avail_vol_size": 1000.0,
        }
        yield Ask(row, base, (base / 2).quantize(Decimal("0.0001")), storage)
