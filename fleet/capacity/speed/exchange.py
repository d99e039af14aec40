"""Seconds a step spends on collectives, from bytes and links: how much of it computing hides."""

from __future__ import annotations

from fleet.capacity.count import count
from fleet.capacity.setup import Setup
from fleet.capacity.speed.constants import Constants
from fleet.capacity.speed.hardware import between, inside

GRADIENT_BYTES = {
    "ddp": 4,
    "zero": 2,
    "fsdp-pure": 2,
    "bf16": 2,
}  # as reduced, by engine; others: 4 (FSDP reducing in fp32)
BACKWARD = 2 / 3  # share of computing that reduction can hide behind


def collective(setup: Setup, constants: Constants, size: float) -> float:
    """Seconds until each data-parallel rank has gathered `size` bytes (or has its part of their sum)."""
    ranks = setup.data_parallel
    if ranks <= 1 or size <= 0:
        return 0.0
    neighbours = max(1, setup.gpus_per_node // (setup.tensor * setup.context_parallel))
    local = min(ranks, neighbours)
    seconds = size * (local - 1) / local / inside(setup, constants)
    nodes = ranks / local
    if nodes > 1:
        seconds = max(seconds, size * (nodes - 1) / nodes / (between(setup) * local))
    return seconds


def held(setup: Setup) -> float:
    """Parameters of the layers and cuts that one GPU takes part in."""
    return count(setup.shape).total / (setup.tensor * setup.pipeline)


def gathering(setup: Setup, constants: Constants) -> float:
    """Seconds of gathering weights and reducing gradients in each micro-batch."""
    weight = 0.5 if setup.adapter and setup.adapter.quantised else 2
    gradient = 0 if setup.adapter else GRADIENT_BYTES.get(setup.engine, 4)
    size = {2: gradient, 3: 2 * weight + gradient}.get(setup.zero, 0)  # stage 3 gathers forward and backward
    return collective(setup, constants, size * held(setup))


def closing(setup: Setup, constants: Constants) -> float:
    """Seconds of what is exchanged once in a step, at its end."""
    gradient = 0 if setup.adapter else GRADIENT_BYTES.get(setup.engine, 4)
    size = {0: 2 * gradient, 1: gradient + 2, 2: 2}.get(setup.zero, 0)  # an all-reduce is a reduction and a gathering
    return collective(setup, constants, size * held(setup))


def across(setup: Setup, constants: Constants) -> float:
    """Seconds of tensor- and context-parallel exchange in each micro-batch, over all layers of this GPU."""
    tokens = setup.micro_batch * setup.length / setup.context_parallel
    layers, shape = setup.shape.layers / setup.pipeline, setup.shape
    cut, parts = setup.tensor, setup.context_parallel
    rate = inside(setup, constants)
    # two pairs of gathering and reducing forward, two backward, of activations in 16 bits: arXiv 2205.05198
    tensor = 8 * 2.0 * tokens * shape.width * (cut - 1) / cut / rate
    # keys and values of all others, forward, again and with their gradients backward
    context = 3 * 4.0 * tokens * parts * shape.key_width / cut * (parts - 1) / parts / rate
    return layers * (tensor + context)


def exposed(seconds: float, window: float, constants: Constants) -> float:
    """What of `seconds` of exchange is not hidden behind `window` seconds of computing."""
    return constants.exposed * seconds + max(0.0, (1 - constants.exposed) * seconds - window)
