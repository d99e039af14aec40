"""How far a peak may lie from the estimate, by how much of its kind was ever measured.

Shares were set with all published peaks in sight, so that each lies inside; docs/planning.md. Terms that are exact by
definition are doubted apart from those that are counted of operations; what nobody measured adds a share of the whole.
"""

from __future__ import annotations

from math import hypot

from fleet.capacity.setup import Setup
from fleet.capacity.widths import eight_bits, wide

OWN = ("ddp", "zero")  # the trainer's engines, counted tensor by tensor in tests

# Shares of a term. Steps of the trainer under PyTorch's MemTracker: predicted up to 8% above, 1% below what was there;
# the tests allow 12%. States counted in a DeepSpeed process: 2%.
COUNTED = 0.12
STATES = 0.02
OVER = 0.08  # of the total, below the estimate only: what a recomputed layer frees early is counted to its end


def doubt(setup: Setup, total: float, states: float) -> tuple[float, float, tuple[str, ...]]:
    """(bytes that the peak may lie below and above `total`, why beyond the ordinary). states: of `total`, exact by
    definition."""
    found = STATES * states + COUNTED * (total - states)
    reasons = []
    for applies, share, reason in _doubts(setup):
        if applies:
            found = hypot(found, share * total)
            reasons.append(reason)
    below = hypot(found, OVER * total) if setup.engine in OWN else found
    return min(below, total), found, tuple(reasons)


def _doubts(setup: Setup) -> list[tuple[bool, float, str]]:
    adapter = setup.adapter
    return [
        (setup.engine not in OWN, 0.06, "another program than the trainer"),
        (setup.engine == "zero", 0.04, "DeepSpeed's gathering was never measured on a GPU"),
        (adapter is not None, 0.10, "low-rank adapters: programs differ in what they keep"),
        (adapter is not None and adapter.quantised, 0.25, "4-bit weights: unpacked in different ways"),
        (setup.optimizer == "paged-adamw8bit", 0.15, "paged optimizer: it takes what the GPU has left"),
        (setup.pipeline > 1, 0.12, "pipelines: schedules differ in what is under way"),
        (setup.tensor > 1, 0.05, "few rows cut a layer over GPUs"),
        (setup.offload != "none", 0.10, "no row with offloading"),
        (setup.precision in ("mxfp8", "nvfp4"), 0.08, f"no {setup.precision} row"),
        (wide(setup.precision), 0.05, f"no {setup.precision} row"),
        (eight_bits(setup.precision) and setup.engine in OWN, 0.04, "8-bit copies of the trainer were never measured"),
        (setup.attention == "math", 0.10, "no row without a flash kernel"),
    ]
