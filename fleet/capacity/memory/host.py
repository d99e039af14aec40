"""RAM of one machine: what it takes, and what is assumed to be there."""

from __future__ import annotations

from fleet.capacity.memory.constants import HOST_RAM, HOST_RAM_GEFORCE
from fleet.capacity.memory.doubt import OWN
from fleet.capacity.memory.stage import Stage
from fleet.capacity.memory.states import ranks
from fleet.capacity.setup import Setup
from fleet.capacity.widths import wide
from profiles.gpus import Gpu

PINNED = 1.5  # DeepSpeed pins and keeps buffers: its own estimator's factor (runtime/zero/stage3.py)


def here(setup: Setup) -> int:
    """GPUs, each with its process, in one machine."""
    return min(setup.gpus, setup.gpus_per_node)


def needed(setup: Setup, stage: Stage) -> float:
    """Bytes at the worst moment: when the run starts with offloading, both what starting and what steps take.

    The trainer makes the fp32 model on the processor in every process (trainer/run/job.py, trainer/parallel/zero.py);
    under DeepSpeed it stays until masters are set from it (`exact`), while 16-bit weights, made beside it, and
    afterwards the optimizer's offloaded state come on top.
    """
    offloaded = _offloaded(setup, stage)
    if setup.engine not in OWN or setup.adapter is not None:
        return offloaded
    model = 4.0 * stage.total * here(setup)
    shrinks = setup.engine == "zero" and setup.zero > 0 and not wide(setup.precision)
    return model + max(offloaded, 0.5 * model if shrinks else 0.0)


def _offloaded(setup: Setup, stage: Stage) -> float:
    """Masters, moments and fp32 gradients, and weights, as offload says."""
    weights = 4.0 if wide(setup.precision) else 2.0
    per = {"none": 0.0, "optimizer": 16.0, "parameters": weights, "both": 16.0 + weights}[setup.offload]
    return PINNED * per * stage.total * here(setup) / ranks(setup)


def assumed(gpu: Gpu, gpus: int) -> float:
    """Bytes of a machine with `gpus` of them: providers differ, and none says it before one rents."""
    return gpus * (HOST_RAM_GEFORCE if gpu.geforce else HOST_RAM[gpu.form_factor])
