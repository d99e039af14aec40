"""How often a job is interrupted, by the kind of machine it is rented on."""

from __future__ import annotations

from fleet.capacity.figure import Figure
from fleet.capacity.finish.habits import Habits

# Llama 3 405B: one interruption in about 2.5 hours of 16,384 H100 (arXiv 2407.21783, section 3.3.4).
GPU_HOURS = 2.5 * 16384
# Hours until a machine is taken away: nobody publishes them, these are assumptions, and the range says so. (6 h on spot
# is the case of the checkpoint literature's examples; a bid on a marketplace is outbid like that.)
MACHINE_HOURS = {"spot": (2.0, 6.0, 24.0)}
SMALL = (0.25, 2.0)  # a fleet of another owner may fail four times as often, or half as often


def mtbf(habits: Habits, gpus: int, nodes: int) -> Figure:
    """Mean hours between two interruptions of a job on all these GPUs: failures and machines taken away add up."""
    taken = MACHINE_HOURS.get(habits.kind)
    source = f"failures: one in {GPU_HOURS:,.0f} GPU-hours (Llama 3 405B, arXiv 2407.21783)"
    if taken:
        source += (
            f"; {habits.kind}: a machine is taken away every {taken[1]:g} h, assumed ({taken[0]:g} to {taken[2]:g})"
        )
    hours = []
    for number, factor in enumerate((SMALL[0], 1.0, SMALL[1])):
        rate = gpus / (GPU_HOURS * factor) + (nodes / taken[number] if taken else 0.0)
        hours.append(1.0 / rate)
    return Figure(hours[1], "h", source, hours[0], hours[2])
