"""Norm and clipping of a gradient that lies in many tensors."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch


def squares(tensors: Iterable[torch.Tensor]) -> torch.Tensor:
    """The sum of squares of all elements: each tensor's norm in fp32, their squares added in double.

    A double scalar on the tensors' device (CPU if there are none); not finite if any element is not.
    """
    norms = [torch.linalg.vector_norm(tensor, dtype=torch.float32) for tensor in tensors if tensor.numel()]
    if not norms:
        return torch.zeros((), dtype=torch.float64)
    return torch.stack(norms).double().square().sum()


def clip(tensors: Iterable[torch.Tensor], norm: float, limit: float) -> None:
    """Scales the tensors in place so that their common norm, now `norm`, is at most `limit`; limit 0: leaves them."""
    if limit > 0 and norm > limit:
        factor = limit / (norm + 1e-6)  # as torch.nn.utils.clip_grad_norm_ and DeepSpeed: never exactly the limit
        torch._foreach_mul_(list(tensors), factor)  # one kernel for many tensors on a GPU


def finite(norm: float) -> bool:
    """Whether a step with this gradient norm may be applied."""
    return math.isfinite(norm)
