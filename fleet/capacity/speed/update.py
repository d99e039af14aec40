"""Seconds of the optimizer step and of offloading, and of launching kernels where computing is too short to hide it."""

from __future__ import annotations

from fleet.capacity.count import adapter_parameters, count
from fleet.capacity.setup import Setup
from fleet.capacity.speed.constants import Constants
from fleet.capacity.speed.exchange import held
from fleet.capacity.speed.hardware import PCIE, inside, sustained

# bytes per parameter: states and master read and written, weight written, gradient read for clipping and for the update
STATE_BYTES = {"adamw": 34, "muon": 26, "paged-adamw8bit": 12}
UPDATE_BYTES = 4  # of an element of a Muon update, as it is gathered
NEWTON_SCHULZ = 5 * 6  # Muon: FLOPs per parameter and element of the shorter side: 5 iterations of 3 products
HOST_BYTES = 28  # per parameter of fp32 Adam on the host: gradient, master and two moments read, three written
PROCESSOR = 60e9  # bytes/s of states that Adam on a rented node's processors passes, all its GPUs' shares together
KERNELS = {False: 60, True: 30}  # of a layer, forward and backward: eager, compiled
LAUNCH = {False: 8e-6, True: 5e-6}  # seconds of each on the processor


def trained(setup: Setup) -> float:
    """Parameters whose optimizer state this GPU updates."""
    parameters = adapter_parameters(setup.shape, setup.adapter) if setup.adapter else held(setup)
    return parameters / (setup.data_parallel if setup.zero else 1)


def update(setup: Setup, constants: Constants) -> float:
    """Seconds of the optimizer on the GPU."""
    if setup.offload in ("optimizer", "both"):
        return 0.0
    mine = trained(setup)
    seconds = mine * STATE_BYTES.get(setup.optimizer, 34) / (setup.gpu.bandwidth_gbs * 1e9)
    if setup.optimizer == "muon" and not setup.adapter:
        share = count(setup.shape).matrices / count(setup.shape).total
        # trainer/optim/share.py: each rank computes some of the updates, and all ranks get all of them.
        shared = mine * share / (1 if setup.zero else setup.data_parallel)
        seconds += NEWTON_SCHULZ * shared * setup.shape.width / sustained(setup.gpu, constants)
        if not setup.zero and setup.data_parallel > 1:
            seconds += UPDATE_BYTES * mine * share / inside(setup, constants)
    return seconds


def host_update(setup: Setup) -> float:
    """Seconds of a step in which gradients go to the host, its processors run Adam, and weights come back."""
    if setup.offload not in ("optimizer", "both"):
        return 0.0
    sharing = min(setup.gpus, setup.gpus_per_node)
    return trained(setup) * ((2 + 2) / PCIE[setup.gpu.pcie] + sharing * HOST_BYTES / PROCESSOR)


def weights_moved(setup: Setup) -> float:
    """Seconds of a micro-batch's transfers if weights live on the host: in twice, gradients out."""
    if setup.offload not in ("parameters", "both"):
        return 0.0
    return held(setup) / setup.data_parallel * (2 * 2 + 2) / PCIE[setup.gpu.pcie]


def launching(setup: Setup, computing: float) -> float:
    """Seconds of a micro-batch in which the GPU waits for launches: nothing where computing takes longer."""
    passes = 4 / 3 if setup.checkpointing == "full" else 1.0
    kernels = KERNELS[setup.compile] * setup.shape.layers / setup.pipeline * passes
    return max(0.0, kernels * LAUNCH[setup.compile] - computing)
