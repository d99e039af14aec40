"""What RunPod rents out here: GPU ids and data centres as documented (providers.md 1.11), prices and stock invented."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

REGIONS = {"US": "NORTH_AMERICA", "CA": "NORTH_AMERICA", "OC": "OCEANIA", "AP": "ASIA", "EU": "EUROPE", "EUR": "EUROPE"}
DATA_CENTRES = (
    *("EU-RO-1", "CA-MTL-1", "CA-MTL-2", "CA-MTL-3", "EU-SE-1", "US-IL-1", "EUR-IS-1", "EUR-IS-2", "EUR-IS-3"),
    *("EU-CZ-1", "US-TX-1", "US-TX-3", "US-TX-4", "US-KS-2", "US-KS-3", "US-GA-1", "US-GA-2", "US-WA-1", "EU-NL-1"),
    *("US-CA-2", "US-NC-1", "OC-AU-1", "US-DE-1", "AP-JP-1", "EUR-NO-1", "EU-FR-1"),
)
CUDA = ("13.0", "12.9", "12.8", "12.6", "12.4")  # invented: which a machine offers


@dataclass(frozen=True)
class Gpu:
    """One GPU type. Prices are USD per hour of one GPU; `ram` (GB) and `vcpus` are the host's, per GPU."""

    id: str
    name: str
    memory: int
    secure: Decimal
    community: Decimal | None
    most: int
    centres: tuple[str, ...]
    cuda: tuple[str, ...] = CUDA
    maker: str = "NVIDIA"
    pool: str | None = None
    ram: int = 120
    vcpus: int = 16


def _gpu(
    gpu: str, name: str, memory: int, secure: str, community: str, centres: str, most: int = 8, ram: int = 120,
    cuda: tuple[str, ...] = CUDA, maker: str = "NVIDIA", pool: str | None = None,
) -> Gpu:  # fmt: skip
    cheaper = Decimal(community) if community else None
    return Gpu(gpu, name, memory, Decimal(secure), cheaper, most, tuple(centres.split()), cuda, maker, pool, ram)


GPUS = {
    gpu.id: gpu
    for gpu in (
        _gpu("NVIDIA H100 80GB HBM3", "H100 SXM", 80, "2.99", "2.69", "US-KS-2 US-TX-3 CA-MTL-1 EUR-IS-1"),
        _gpu("NVIDIA H100 PCIe", "H100 PCIe", 80, "2.39", "1.99", "US-KS-2 US-TX-1 EU-RO-1"),
        _gpu("NVIDIA H100 NVL", "H100 NVL", 94, "2.79", "2.59", "US-GA-1 EU-NL-1"),
        _gpu("NVIDIA H200", "H200 SXM", 141, "3.99", "3.59", "US-KS-2 EU-FR-1 AP-JP-1", ram=250),
        _gpu("NVIDIA H200 NVL", "H200 NVL", 143, "3.79", "", "US-GA-2", ram=250),
        _gpu("NVIDIA B200", "B200", 180, "5.99", "", "US-KS-3 EUR-NO-1", ram=280),
        _gpu("NVIDIA B300 SXM6 AC", "B300", 288, "6.99", "", "US-KS-3", ram=280),
        _gpu("NVIDIA A100-SXM4-80GB", "A100 SXM", 80, "1.79", "1.39", "US-KS-2 US-TX-3 EUR-IS-1", pool="AMPERE_80"),
        _gpu("NVIDIA A100 80GB PCIe", "A100 PCIe", 80, "1.64", "1.19", "US-KS-2 EU-RO-1 CA-MTL-3", pool="AMPERE_80"),
        _gpu("NVIDIA L40S", "L40S", 48, "0.86", "0.79", "US-TX-4 EU-SE-1 US-KS-2", ram=90),
        _gpu("NVIDIA L40", "L40", 48, "0.99", "0.69", "EU-RO-1", ram=90),
        _gpu("NVIDIA L4", "L4", 24, "0.43", "", "EU-RO-1 US-TX-4", ram=50, pool="AMPERE_24"),
        _gpu(
            "NVIDIA GeForce RTX 4090", "RTX 4090", 24, "0.69", "0.34", "US-KS-2 EU-RO-1 EUR-NO-1", pool="ADA_24", ram=60
        ),
        _gpu("NVIDIA GeForce RTX 5090", "RTX 5090", 32, "0.94", "0.69", "US-NC-1 EU-RO-1", ram=90),
        _gpu("NVIDIA GeForce RTX 3090", "RTX 3090", 24, "0.46", "0.22", "EU-CZ-1 CA-MTL-1", ram=60, cuda=CUDA[2:]),
        _gpu("NVIDIA RTX 6000 Ada Generation", "RTX 6000 Ada", 48, "0.77", "0.74", "US-IL-1 EU-RO-1", ram=60),
        _gpu("NVIDIA RTX A6000", "RTX A6000", 48, "0.49", "0.33", "EU-SE-1 US-IL-1", ram=50),
        _gpu("NVIDIA A40", "A40", 48, "0.40", "0.35", "CA-MTL-1 EU-SE-1", most=10, ram=50),
        _gpu("NVIDIA RTX A5000", "RTX A5000", 24, "0.27", "0.16", "EU-RO-1", ram=50),
        _gpu("NVIDIA RTX A4000", "RTX A4000", 16, "0.25", "0.17", "EU-RO-1", ram=50),
        _gpu("NVIDIA RTX PRO 6000 Blackwell Server Edition", "RTX PRO 6000", 96, "1.79", "1.69", "US-NC-1", ram=120),
        _gpu("AMD Instinct MI300X OAM", "MI300X", 192, "2.69", "", "EU-RO-1", cuda=(), maker="AMD", ram=250),
    )
}


@dataclass(frozen=True)
class Cpu:
    """One CPU flavour; the price is USD per hour and vCPU."""

    id: str
    name: str
    group: str
    most: int
    ram: float
    price: Decimal


CPUS = {
    cpu.id: cpu
    for cpu in (
        Cpu("cpu3c", "Compute-Optimized", "Gen 3", 32, 2.0, Decimal("0.03")),
        Cpu("cpu5c", "Compute-Optimized", "Gen 5", 32, 2.5, Decimal("0.04")),
        Cpu("cpu3g", "General Purpose", "Gen 3", 32, 4.0, Decimal("0.04")),
    )
}


def country(centre: str) -> str:
    """`EU-RO-1` is RO, `US-KS-2` is US."""
    first, second = centre.split("-")[:2]
    return first if first in ("US", "CA") else second


def region(centre: str) -> str:
    return REGIONS.get(centre.split("-")[0], "UNKNOWN")


def title(centre: str) -> str:
    """A name for people (invented)."""
    return "Data centre " + centre


def fitting(offered: tuple[str, ...], exactly: list[str], least: str) -> list[str]:
    """The CUDA versions of `offered` that a pod may get, highest first; `exactly` matches text, `least` numbers."""
    found = [version for version in offered if not exactly or version in exactly]
    return [version for version in found if not least or number(version) >= number(least)]


def number(version: str) -> tuple[int, int]:
    """12.11 is above 12.2; a bare major is its first minor."""
    major, _, minor = version.partition(".")
    return int(major), int(minor or 0)
