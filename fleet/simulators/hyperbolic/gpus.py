"""What nvidia-smi calls the GPUs that Hyperbolic names by type and form factor, and the drivers of its machines."""

from __future__ import annotations

from dataclasses import dataclass

OLD = ("535.183.06", "12.2")  # recorded: H100 PCIe, ca-east-1 (providers.md 3.8)
NEW = ("580.95.05", "13.0")  # everywhere else: invented, and new enough for today's images
SEEN = ("h100", "pcie", "ca-east-1")


@dataclass(frozen=True)
class Card:
    """name and MiB as the driver tells them; capability: of CUDA."""

    name: str
    memory: int
    capability: str


CARDS = {
    ("h100", "pcie"): Card("NVIDIA H100 PCIe", 81559, "9.0"),  # MiB measured (providers.md 3.3)
    ("h100", "sxm5"): Card("NVIDIA H100 80GB HBM3", 81559, "9.0"),
    ("h200", "sxm5"): Card("NVIDIA H200", 143771, "9.0"),
    ("b200", "sxm5"): Card("NVIDIA B200", 183359, "10.0"),
    ("rtx-6000-pro", "pcie"): Card("NVIDIA RTX PRO 6000 Blackwell Server Edition", 97887, "12.0"),
}


def card(gpu: str, form: str) -> Card:
    """The card of a row; one that nobody knows is named after its type."""
    return CARDS.get((gpu, form), Card(f"NVIDIA {gpu.upper()}", 81559, "9.0"))


def driver(gpu: str, form: str, region: str) -> tuple[str, str]:
    """Driver and its CUDA version."""
    return OLD if (gpu, form, region) == SEEN else NEW
