"""The largest micro-batch by GPU and sequence length, with the speed it gives: the table guides print, made true."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from fleet.capacity import precision
from fleet.capacity.memory.fit import largest_micro_batch
from fleet.capacity.setup import Setup
from fleet.capacity.speed.speed import speed
from fleet.capacity.workload import Workload
from profiles.errors import WrongInput
from profiles.gpus import Gpu

MOST_TOKENS = 2**20  # of one micro-batch: beyond it nothing gets faster
LENGTHS = (128, 256, 512, 1024, 2048, 4096, 8192, 16384)


@dataclass(frozen=True, slots=True)
class Cell:
    """One GPU type at one length, on one GPU. micro_batch 0: not even one sequence fits; why: the reason, if any."""

    gpu: str
    length: int
    precision: str
    micro_batch: int
    checkpointing: str
    tokens: int  # of one micro-batch
    tokens_per_second: float
    why: str = ""


def batches(
    workload: Workload, gpus: Sequence[Gpu], lengths: Sequence[int] = LENGTHS, count: int = 1, zero: int = 0
) -> list[Cell]:
    """Rows of the table, GPU by GPU. count: GPUs that share the state (with a ZeRO stage); the batch is no limit."""
    return [_cell(workload, gpu, length, count, zero) for gpu in gpus for length in lengths]


def _cell(workload: Workload, gpu: Gpu, length: int, count: int, zero: int) -> Cell:
    shape = replace(workload.shape, context=max(workload.shape.context, length))
    try:
        name, _ = precision.resolve(workload.precision, gpu, shape)
    except WrongInput as error:
        return Cell(gpu.key, length, "-", 0, "-", 0, 0.0, error.what)
    best = Cell(gpu.key, length, name, 0, "-", 0, 0.0, "the state alone does not fit")
    for kept in ("none", "selective", "full") if workload.checkpointing is None else (workload.checkpointing,):
        setup = Setup(
            shape=shape,
            gpu=gpu,
            gpus=count,
            length=length,
            micro_batch=1,
            precision=name,
            engine="zero" if zero else "ddp",
            zero=zero,
            offload=workload.offload,
            checkpointing=kept,
            optimizer=workload.optimizer,
            loss_chunk=workload.loss_chunk,
            attention=workload.attention,
            compile=workload.compile,
            link="nvlink" if gpu.nvlink_gbs else "pcie",
        )
        micro = largest_micro_batch(setup, max(1, MOST_TOKENS // length))
        if not micro:
            continue
        rate = speed(replace(setup, micro_batch=micro)).per_gpu.value
        if rate > 1.02 * best.tokens_per_second:
            best = Cell(gpu.key, length, name, micro, kept, micro * length, rate)
    return best
