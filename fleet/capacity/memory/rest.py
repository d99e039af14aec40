"""Layers made whole, buckets, workspaces: what is neither state nor activation."""

from __future__ import annotations

from fleet.capacity.memory.constants import CONTEXT, NCCL, WORKSPACE
from fleet.capacity.memory.engines import Engine
from fleet.capacity.memory.stage import Stage
from fleet.capacity.memory.term import Term
from fleet.capacity.setup import Setup
from fleet.capacity.widths import element, wide

BUCKET = 50 * 2**20  # parallel.bucket_mb, the trainer's default


def gathered(setup: Setup, engine: Engine, stage: Stage) -> list[Term]:
    """Parameters that are whole for as long as their layer computes, and gradients before they are cut."""
    each = 4.0 if wide(setup.precision) else engine.gathered
    layer, root = stage.layer, stage.root
    alone = setup.gpus // (setup.tensor * setup.pipeline) == 1
    if engine.live and setup.zero >= 3 and (not alone or setup.offload in ("parameters", "both")):
        size = max(min(engine.live, stage.total), stage.largest) * each
        words = "stage3_max_live_parameters: up to 1e9 whole, and at least the largest matrix"
        return [Term("live parameters", size, words, "parallel.zero")]
    if alone or setup.zero < 2 or engine.live:
        return []
    quantised = setup.adapter is not None and setup.adapter.quantised
    packed = engine.four_bit / each if quantised else 1.0
    found = []
    if setup.pipeline > 1 or setup.zero == 2:
        whole = each * stage.total
        found.append(Term("gathered weights", whole, "whole from forward to backward", "parallel.zero"))
    else:
        size = 2 * each * layer * packed + each * root
        size += each * layer / 3 if quantised else 0  # the largest matrix as it is multiplied
        found.append(Term("gathered weights", size, "two layers, embedding and head made whole", "parallel.zero"))
    if setup.adapter is None:
        found.append(
            Term(
                "gradients to be cut",
                (4.0 if wide(setup.precision) else engine.reduced) * layer,
                "one layer's before they are reduced",
            )
        )
    return found


def buckets(setup: Setup, engine: Engine) -> list[Term]:
    """Communication buckets that are allocated beside gradients."""
    if not engine.buckets or setup.gpus == 1 or setup.zero == 0:
        return []
    return [
        Term("buckets", 2.0 * engine.buckets * BUCKET, "reduce and allgather, twice: overlap", "parallel.bucket_mb")
    ]


def pipeline(setup: Setup, tokens: float) -> list[Term]:
    """What goes from stage to stage: a stage keeps what it sent, and has a place to receive for every micro-batch
    (torch.distributed.pipelining, stage.py: fwd_cache, args_recv_info)."""
    if setup.pipeline == 1:
        return []
    size = 2 * element(setup.precision) * setup.shape.width * tokens / setup.tensor * setup.accumulation
    return [Term("pipeline buffers", size, "sent and received, every micro-batch", "pipeline")]


def workspace(setup: Setup) -> Term:
    """What cuBLAS takes from PyTorch's allocator."""
    return Term("workspace", WORKSPACE, "cuBLAS and cuBLASLt")


def outside(setup: Setup) -> list[Term]:
    """What never goes through PyTorch's allocator."""
    found = [Term("CUDA context", CONTEXT, "driver, kernels, libraries", kind="outside")]
    if setup.gpus > 1:
        found.append(Term("NCCL", NCCL, "channels of collectives", kind="outside"))
    return found
