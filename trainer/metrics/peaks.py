"""What a GPU could do at best: dense TFLOP/s with fp32 accumulation, named, so that an MFU says what it is a share of.

Never the sparse number of a datasheet's headline, and never one unnamed peak for an FP8 run. Numbers as in the
project's GPU table (a test compares them); rows marked `recalled` are from memory of NVIDIA's datasheets. GeForce cards
multiply twice as fast when FP8 is accumulated in fp16; training accumulates in fp32, so that rate is not listed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

ALWAYS = ("bf16", "fp8")
SLICED = {"MIG", "GRID", "VGPU"}  # a share of a GPU under the whole one's name
SLOWER = {"D", "LAPTOP", "MOBILE", "Q", "MAX"}  # "RTX 4090 D", "Laptop GPU", "Max-Q": other chips or clocks

# words that must all be in the name torch and the driver report -> title, TFLOP/s; the most words win
_ADA4090 = {"fp32": 82.6, "bf16": 165.2, "fp16": 165.2, "fp8": 330.3}
_H100 = {"fp32": 67.0, "bf16": 989.0, "fp16": 989.0, "fp8": 1979.0}
_A100 = {"fp32": 19.5, "bf16": 312.0, "fp16": 312.0}
_BLACKWELL = {"fp32": 75.0, "bf16": 2250.0, "fp16": 2250.0, "fp8": 4500.0}
_PRO6000 = {"fp32": 120.0, "bf16": 480.0, "fp16": 480.0, "fp8": 960.0, "fp4": 1920.0}
TABLE: tuple[tuple[tuple[str, ...], str, dict[str, float]], ...] = (
    (("A100",), "A100", _A100),
    (("A40",), "A40", {"fp32": 37.4, "bf16": 149.7, "fp16": 149.7}),
    (("RTX", "A6000"), "RTX A6000", {"fp32": 38.7, "bf16": 154.85, "fp16": 154.85}),
    (("RTX", "3090"), "RTX 3090", {"fp32": 35.6, "bf16": 71.0, "fp16": 71.0}),
    (("RTX", "4090"), "RTX 4090", _ADA4090),
    (("RTX", "6000", "ADA"), "RTX 6000 Ada", {"fp32": 91.1, "bf16": 364.2, "fp16": 364.2, "fp8": 728.5}),
    (("L4",), "L4", {"fp32": 30.3, "bf16": 121.0, "fp16": 121.0, "fp8": 242.0}),
    (("L40S",), "L40S", {"fp32": 91.6, "bf16": 362.0, "fp16": 362.0, "fp8": 733.0}),
    (("H100", "HBM3"), "H100 SXM", _H100),
    (("H100", "SXM5"), "H100 SXM", _H100),
    (("H100", "PCIE"), "H100 PCIe", {"fp32": 51.0, "bf16": 756.0, "fp16": 756.0, "fp8": 1513.0}),
    (("H100", "NVL"), "H100 NVL", {"fp32": 60.0, "bf16": 835.0, "fp16": 835.0, "fp8": 1671.0}),
    (("H200",), "H200 SXM", _H100),
    (("H200", "NVL"), "H200 NVL", {"fp32": 60.0, "bf16": 836.0, "fp16": 836.0, "fp8": 1671.0}),
    (("B200",), "B200", {**_BLACKWELL, "fp4": 9000.0}),
    (("B300",), "B300", {**_BLACKWELL, "fp4": 14000.0}),
    (("RTX", "5090"), "RTX 5090", {"fp32": 104.8, "bf16": 209.5, "fp16": 209.5, "fp8": 419.0, "fp4": 1676.0}),
    (("RTX", "PRO", "6000", "BLACKWELL"), "RTX PRO 6000 Blackwell", _PRO6000),
    # recalled, and no row of the project's table: not rented by profiles, yet met by those who bring their own machine
    (("V100",), "V100 SXM2", {"fp32": 15.7, "fp16": 125.0}),
    (("V100", "PCIE"), "V100 PCIe", {"fp32": 14.0, "fp16": 112.0}),
    (("T4",), "T4", {"fp32": 8.1, "fp16": 65.0}),
    (("A10",), "A10", {"fp32": 31.2, "bf16": 125.0, "fp16": 125.0}),
    (("A10G",), "A10G", {"fp32": 35.0, "bf16": 70.0, "fp16": 70.0}),
    (("L40",), "L40", {"fp32": 90.5, "bf16": 181.0, "fp16": 181.0, "fp8": 362.0}),
    (("GH200",), "GH200", _H100),
)


@dataclass(frozen=True)
class Peak:
    """Dense TFLOP/s of one GPU in one precision, and what that is the peak of."""

    tflops: float
    name: str


@dataclass(frozen=True)
class Peaks:
    """The peaks a run is measured against, by kind (bf16, fp8, and the run's own); why there are none, if there are."""

    named: dict[str, Peak] = field(default_factory=dict)
    reason: str = ""

    def mfu(self, flops_per_s: float) -> dict[str, float | None]:
        """Share of each peak. flops_per_s: of one GPU, the model's own FLOPs (nothing recomputed counts).

        bf16 and fp8 are always there; null where the GPU has no such peak or is not known.
        """
        shares: dict[str, float | None] = dict.fromkeys(ALWAYS)
        for kind, peak in self.named.items():
            shares[kind] = round(flops_per_s / (peak.tflops * 1e12), 6)
        return shares

    def to_json(self) -> dict[str, Any]:
        """{"bf16": {"tflops": 989.0, "name": "H100 SXM dense bf16"}, ...}."""
        return {kind: {"tflops": peak.tflops, "name": peak.name} for kind, peak in self.named.items()}


def peaks_of(device: str | None, precision: str = "bf16", bf16_tflops: float = 0.0, fp8_tflops: float = 0.0) -> Peaks:
    """The peaks by a GPU's name as torch.cuda.get_device_name() gives it (None: a CPU), for a run in this precision.

    bf16_tflops, fp8_tflops: the user's own numbers, per GPU (or per CPU); above 0 they go before the table's.
    """
    row = _row(device) if device else None
    table = {} if row is None else {kind: Peak(value, f"{row[0]} dense {kind}") for kind, value in row[1].items()}
    for kind, value in (("bf16", bf16_tflops), ("fp8", fp8_tflops)):
        if value > 0:
            table[kind] = Peak(value, f"{device or 'CPU'} {kind} as configured (metrics.peak_{kind}_tflops)")
    wanted = [*ALWAYS, kind_of(precision)]
    named = {kind: table[kind] for kind in dict.fromkeys(wanted) if kind in table}
    return Peaks(named, "" if named else _why_not(device))


def kind_of(precision: str) -> str:
    """'fp8-current' -> 'fp8', 'mxfp8' -> 'fp8', 'nvfp4' -> 'fp4', 'bf16' -> 'bf16'."""
    return {"mxfp8": "fp8", "nvfp4": "fp4"}.get(precision, precision.split("-")[0])


def _row(device: str) -> tuple[str, dict[str, float]] | None:
    words = _words(device)
    if words & (SLICED | SLOWER):
        return None
    fitting = [(needed, title, values) for needed, title, values in TABLE if words.issuperset(needed)]
    if not fitting:
        return None
    _, title, values = max(fitting, key=lambda row: (len(row[0]), sum(map(len, row[0]))))
    return title, values


def _words(device: str) -> set[str]:
    return set(re.split(r"[^A-Z0-9]+", device.upper()))


def _why_not(device: str | None) -> str:
    if not device:
        return "a CPU has no peak in the table; metrics.peak_bf16_tflops names one"
    if _words(device) & SLICED:
        return f"{device} is a slice of a GPU, whose share of the peak is not known; metrics.peak_bf16_tflops names one"
    return f"no peak is known for {device}; metrics.peak_bf16_tflops (and metrics.peak_fp8_tflops) name one"
