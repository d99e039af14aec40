"""total += left^T right, with an fp32 total whatever the operands are."""

from __future__ import annotations

import functools
from typing import cast

import torch
from torch import Tensor


def accumulate(total: Tensor | None, left: Tensor, right: Tensor) -> Tensor:
    """Adds left^T (vocab, n) times right (n, width) to total (vocab, width, fp32) in place; None begins one.

    Half-precision operands on a GPU whose PyTorch can (2.8 and later) are summed into the fp32 total by the GEMM
    itself; otherwise the product is made in their dtype and added.
    """
    turned = left.t()
    if left.is_cuda and left.dtype != torch.float32 and _mixed_works(left.device.index or 0, left.dtype):
        if total is None:
            total = torch.zeros(turned.shape[0], right.shape[1], dtype=torch.float32, device=left.device)
        return cast(Tensor, torch.ops.aten.addmm.dtype_out(total, turned, right, torch.float32, out=total))
    if total is None:
        return (turned @ right).float()
    if left.dtype == total.dtype:
        return torch.addmm(total, turned, right, out=total)  # not addmm_: PyTorch's FLOP counter does not know it
    total += turned @ right
    return total


@functools.cache
def _mixed_works(device: int, dtype: torch.dtype) -> bool:
    """Tried once with a sum that half precision cannot hold: 16 + 2^-10."""
    place = torch.device("cuda", device)
    total = torch.full((16, 16), 2.0**-10, device=place)
    ones = torch.ones(16, 16, dtype=dtype, device=place)
    try:
        torch.ops.aten.addmm.dtype_out(total, ones.t(), ones, torch.float32, out=total)
    except (AttributeError, RuntimeError, TypeError, NotImplementedError):
        return False
    return bool((total == 16.0 + 2.0**-10).all())
