# mypy: allow-subclassing-any
"""LayerNorm and RMSNorm that stay in the dtype of the residual stream; their sums are fp32 inside the kernels.

Autocast would send the norm's input and output through fp32 copies: twice the memory traffic, and twice the saved
activations. Here the weights are cast instead, which is small.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainer.model.families import Family


class Norm(nn.Module):
    """Over the last dimension. kind: layer (weight, bias), rms (weight), plain (nothing learned)."""

    def __init__(self, kind: str, width: int, eps: float) -> None:
        super().__init__()
        self.kind, self.width, self.eps = kind, width, eps
        self.weight = None if kind == "plain" else nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width)) if kind == "layer" else None

    def forward(self, x: Tensor) -> Tensor:
        """(..., width) -> (..., width), same dtype."""
        device = x.device.type
        if torch.is_autocast_enabled(device):
            with torch.autocast(device, enabled=False):
                return self._normalise(x)
        return self._normalise(x)

    def _normalise(self, x: Tensor) -> Tensor:
        weight = None if self.weight is None else self.weight.to(x.dtype)
        if self.kind == "layer":
            bias = None if self.bias is None else self.bias.to(x.dtype)
            return functional.layer_norm(x, (self.width,), weight, bias, self.eps)
        return cast(Tensor, functional.rms_norm(x, (self.width,), weight, self.eps))

    def extra_repr(self) -> str:
        """For print(model)."""
        return f"{self.kind}, {self.width}, eps={self.eps}"


def norm(family: Family, width: int) -> Norm:
    """The family's norm for a stream of `width`."""
    return Norm(family.norm, width, family.eps)


def plain_norm(family: Family, width: int) -> Norm:
    """Without anything learned, whatever the family's norm is: for queries and keys."""
    return Norm("plain", width, family.eps)
