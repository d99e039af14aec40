"""Where DeepSpeed keeps gradients and masters, by stage; how both are set and forgotten.

Attribute names are those of runtime/zero/stage_1_and_2.py, stage3.py and runtime/bf16_optimizer.py, 0.15 to 0.19.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from typing import Any

import torch
import torch.distributed as dist

from trainer.parallel.world import World

BEFORE_FIRST = -1  # micro_step_id of stages 1 and 2 before a step's first micro-batch (stage_1_and_2.py)


def gradients(optimizer: Any, stage: int, parameters: Iterable[torch.nn.Parameter]) -> list[torch.Tensor]:
    """This rank's pieces of the reduced gradient after the last micro-batch's backward, still loss-scaled."""
    if stage == 0:
        return [parameter.grad for parameter in parameters if parameter.grad is not None]
    if hasattr(optimizer, "fp32_groups_gradient_flat_partition"):  # BF16_Optimizer: stage 1, bf16, not offloaded
        return list(optimizer.fp32_groups_gradient_flat_partition)
    if getattr(optimizer, "cpu_offload", False):
        return _arrived(optimizer.single_partition_of_fp32_groups)
    if getattr(optimizer, "offload_optimizer", False):
        return _arrived(optimizer.fp32_partitioned_groups_flat)
    groups = optimizer.averaged_gradients.values()
    return [piece for group in groups if group is not None for piece in group if piece is not None]


def _arrived(partitions: Iterable[torch.Tensor]) -> list[torch.Tensor]:
    """Offloaded gradients, once their copies from the GPU have ended."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return [partition.grad for partition in partitions if partition.grad is not None]


def forget(optimizer: Any) -> None:
    """After a step that was not taken: drops the fp32 sums of stages 1 and 2 with an offloaded optimizer.

    DeepSpeed 0.19 leaves them standing after an overflow (stage_1_and_2.py, step): one NaN would stay for ever.
    """
    if getattr(optimizer, "cpu_offload", False):
        for group in optimizer.averaged_gradients:
            optimizer.averaged_gradients[group] = None


def clear(optimizer: Any, stage: int) -> None:
    """Drops a gradient that was begun or is waiting for its step, as DeepSpeed does at an overflow.

    What may lie where: in parameters, in fp32 sums (averaged_gradients, all_grad_tensors; stage 3 overwrites its own
    in the first micro-batch), in host memory (overwritten in the first micro-batch, too).
    """
    optimizer.zero_grad(set_to_none=True)
    if stage not in (1, 2) or not hasattr(optimizer, "averaged_gradients"):  # BF16_Optimizer has zeroed its sums
        return
    optimizer.micro_step_id = BEFORE_FIRST
    getattr(optimizer, "_release_preflattened_grad_buffers", lambda: None)()
    for sums in (optimizer.averaged_gradients, getattr(optimizer, "all_grad_tensors", {})):
        for group in sums:
            sums[group] = None
    if optimizer.cpu_offload:
        optimizer.reset_cpu_buffers()
        optimizer._offload_accumulated_param_ids = set()


def shared(parameters: dict[str, torch.nn.Parameter], world: World) -> dict[str, torch.Tensor]:
    """Gives every rank the parameters of rank 0; returns their data in full precision.

    DeepSpeed replaces `parameter.data` by narrower numbers, so holding these costs no copy.
    """
    exact = {}
    for name, parameter in parameters.items():
        if world.size > 1:
            value = parameter.data.to(world.device)
            dist.broadcast(value, src=0)
            parameter.data.copy_(value)
        exact[name] = parameter.data
    return exact


def set_masters(parameters: dict[str, torch.nn.Parameter], exact: dict[str, torch.Tensor], rank: int) -> None:
    """Writes full precision values into the optimizer's fp32 copies, wherever they lie."""
    utils = importlib.import_module("deepspeed.utils")
    for name, parameter in parameters.items():
        value = exact[name].float()
        if hasattr(parameter, "ds_tensor"):
            # Stage 3's own function for whole values fails on the padded last piece (stage3.py, set_full_hp_param).
            utils.safe_set_local_fp32_param(parameter, piece(value, parameter.ds_tensor.numel(), rank))
        else:
            utils.safe_set_full_fp32_param(parameter, value)


def piece(value: torch.Tensor, length: int, rank: int) -> torch.Tensor:
    """A rank's piece of a flattened tensor cut into equal pieces; zeros where it ends before the piece does."""
    own = value.flatten()[rank * length : (rank + 1) * length]
    return torch.nn.functional.pad(own, (0, length - own.numel()))
