"""How far a prediction may be off, by how much of it was ever measured. From cross-validation: bench/fit_speed.py."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, hypot

from fleet.capacity.setup import Setup
from fleet.capacity.widths import eight_bits

MEASURED = ("a100-40-sxm", "a100-80-sxm", "h100-sxm", "h100-96-sxm", "h200-sxm")
KNOWN = ((8, 0), (9, 0))  # architectures of which some GPU was measured
OWN = ("ddp", "zero")  # engines of the trainer, of which nothing is published
# ln(measured / predicted), 5th percentile without its sign and 95th, of rows whose model was left out of the fit
BASE = (0.16, 0.08, "nine in ten rows of models left out of the fit")
LENGTHS = (512, 65536)
WIDTHS = (768, 8192)


@dataclass(frozen=True, slots=True)
class Range:
    """Multiples of the prediction, and what made them so wide."""

    low: float
    high: float
    why: str


def expected(setup: Setup, trust: float = 0.0) -> Range:
    """trust: of measured runs, 0 to 1, see measured.correction."""
    below, above, reasons = BASE[0], BASE[1], [BASE[2]]
    for applies, down, up, reason in _doubts(setup):
        if applies:
            below, above = hypot(below, down), hypot(above, up)
            reasons.append(reason)
    own = 1 - 0.8 * trust  # a run at no distance leaves a fifth of it
    return Range(exp(-below * own), exp(above * own), ", ".join(reasons))


def _doubts(setup: Setup) -> list[tuple[bool, float, float, str]]:
    gpu, shape = setup.gpu, setup.shape
    tokens = setup.micro_batch * setup.length / setup.context_parallel
    seen = gpu.compute_capability in KNOWN
    cut = setup.tensor * setup.context_parallel * setup.pipeline > 1
    return [
        (setup.engine in OWN, 0.20, 0.05, "fitted on other programs than the trainer"),  # as rows of a program left out
        (gpu.key not in MEASURED and seen, 0.20, 0.15, f"{gpu.name} was never measured, its architecture was"),
        (not seen, 0.40, 0.30, f"hardly anything of {gpu.name}'s architecture was measured: by peak, bandwidth, watts"),
        (eight_bits(setup.precision), 0.10, 0.08, "few fp8 rows"),
        (setup.precision in ("mxfp8", "nvfp4"), 0.3, 0.2, f"no {setup.precision} row"),
        (setup.precision in ("fp32", "tf32", "fp16"), 0.2, 0.2, f"no {setup.precision} row"),
        (not LENGTHS[0] <= setup.length <= LENGTHS[1], 0.15, 0.1, "length outside the measured 512 to 65,536"),
        (not WIDTHS[0] <= shape.width <= WIDTHS[1], 0.15, 0.1, "width outside the measured 768 to 8,192"),
        (tokens < 4096, 0.25, 0.1, "fewer tokens at once than measured"),
        (cut, 0.2, 0.2, "few rows cut a layer, a sequence or the stack of layers over GPUs"),
        (setup.gpus > 1 and not (setup.link == "nvlink" and gpu.nvlink_gbs), 0.3, 0.15, "no row without NVLink"),
        (setup.nodes > 1 and setup.between != "infiniband", 0.5, 0.3, f"no row between nodes over {setup.between}"),
        (setup.offload != "none", 0.5, 0.4, "no row with offloading: the host decides"),
        (setup.adapter is not None, 0.2, 0.2, "two rows of adapters"),
        (setup.attention == "math", 0.4, 0.4, "no row without a flash kernel"),
    ]
