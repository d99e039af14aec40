"""Transformer Engine's Linear, for any number of tokens."""

from __future__ import annotations

import math
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


def layer_class(te: ModuleType, multiple: int) -> Any:
    """te.Linear whose leading dimensions are padded to `multiple`; its parameters keep the names weight and bias."""

    class PaddedLinear(te.Linear):  # type: ignore[misc, name-defined]  # a base class known at run time only
        """(..., inputs) -> (..., outputs)."""

        def forward(self, x: Tensor, *arguments: Any, **options: Any) -> Tensor:
            rows = math.prod(x.shape[:-1])
            if rows % multiple == 0:
                whole: Tensor = super().forward(x, *arguments, **options)
                return whole
            flat = functional.pad(x.reshape(rows, x.shape[-1]), (0, 0, 0, -rows % multiple))
            y: Tensor = super().forward(flat, *arguments, **options)
            return y[:rows].reshape(*x.shape[:-1], y.shape[-1])

    return PaddedLinear


def linear(kind: Any, inputs: int, outputs: int, bias: bool) -> nn.Module:
    """One layer with fp32 masters, on torch's default device as nn.Linear is (TE's own default is cuda), so that its
    initial weights come from the same generator. params_dtype None would be torch's default type, whatever that is."""
    device = torch.get_default_device()
    layer: nn.Module = kind(inputs, outputs, bias=bias, params_dtype=torch.float32, device=device)
    return layer
