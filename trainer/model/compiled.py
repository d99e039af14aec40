"""torch.compile, block by block: one block's code serves all of them, so compiling takes seconds, not minutes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from trainer.model.loss import slope_of

if TYPE_CHECKING:
    from trainer.model.gpt import GPT

SHAPES = 64  # versions of a block: sequence lengths of a curriculum, micro-batches, training and evaluation


def compile_blocks(model: GPT, mode: str = "default", backend: str = "inductor") -> None:
    """Compiles each block and the head's softmax in place. Names of parameters stay; every shape is compiled for
    itself (dynamic=False). mode and backend as in torch.compile."""
    from torch import _dynamo

    for name in ("recompile_limit", "cache_size_limit"):  # new and old name; beyond it dynamo silently runs eagerly
        if hasattr(_dynamo.config, name):
            setattr(_dynamo.config, name, max(SHAPES, getattr(_dynamo.config, name)))
    # Blocks are compiled one by one, so gradients travel between them anyway. What dynamo does by default under
    # DistributedDataParallel would cut every block in pieces of a bucket, and refuses checkpointing within one.
    _dynamo.config.optimize_ddp = False
    for block in model.blocks:
        block.compile(mode=mode, backend=backend, dynamic=False)
    model.head.slope = torch.compile(slope_of, mode=mode, backend=backend, dynamic=False)
