"""The time of one optimizer step, as named parts."""

from __future__ import annotations

from math import log2

from fleet.capacity.setup import Setup
from fleet.capacity.speed.constants import FITTED, Constants
from fleet.capacity.speed.exchange import BACKWARD, across, closing, exposed, gathering
from fleet.capacity.speed.update import host_update, launching, update, weights_moved
from fleet.capacity.speed.work import work


def step(setup: Setup, constants: Constants = FITTED) -> dict[str, float]:
    """Seconds by part, all >= 0; their sum is the step's time."""
    done, times = work(setup, constants), setup.accumulation
    waiting, sharing = launching(setup, done.total), across(setup, constants)
    busy = done.total + waiting  # of a micro-batch: what exchange can hide behind
    gathered, moved = gathering(setup, constants), weights_moved(setup)
    shown = exposed(gathered + moved, busy, constants) / (gathered + moved or 1.0)
    late = (
        setup.zero in (1, 2) and setup.engine == "zero"
    )  # DeepSpeed gathers weights after the update, with nothing to do
    last = 0.0 if late else max(0.0, BACKWARD * busy - gathered - moved)
    bubble = (setup.pipeline - 1) * (busy + sharing)  # of p - 1 micro-batches, whatever their number: 1F1B
    parts = {
        "matrices": done.matrices * times,
        "attention": done.attention * times,
        "head": done.head * times,
        "memory-bound": done.memory_bound * times,
        "recompute": done.recompute * times,
        "communication": (shown * gathered + sharing) * times
        + exposed(closing(setup, constants), last, constants)
        + bubble,
        "optimizer": update(setup, constants),
        "offload": shown * moved * times + host_update(setup),
        "launch": waiting * times,
    }
    parts["communication"] += constants.jitter * log2(max(1, setup.nodes)) * sum(parts.values())
    return parts


def per_gpu(setup: Setup, constants: Constants = FITTED) -> float:
    """Tokens per second and GPU."""
    return setup.step_tokens / sum(step(setup, constants).values()) / setup.gpus
