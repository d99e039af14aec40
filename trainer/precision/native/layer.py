# mypy: allow-subclassing-any
"""A linear layer that multiplies in FP8 while its switch is on, and is nn.Linear otherwise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainer.precision.native.multiply import Fp8Product

ROWS = 16  # _scaled_mm's multiple; also the rows kept for statistics
NEVER = -1.0  # in place of an amax: no FP8 product yet


class Switch:
    """Shared by all layers of a model. Set before a forward and left so: a recomputed forward must see the same."""

    def __init__(self) -> None:
        self.on = False


class Fp8Linear(nn.Linear):
    """(..., inputs) -> (..., outputs). Parameters and their names are nn.Linear's: checkpoints do not know FP8.

    Both dimensions must be multiples of 16; the product of the leading ones is padded to one. The result has autocast's
    type inside autocast, else the input's.
    """

    def __init__(self, inputs: int, outputs: int, bias: bool, switch: Switch, emulate: bool) -> None:
        super().__init__(inputs, outputs, bias=bias)
        self.switch, self.emulate = switch, emulate
        self._forget()

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        if not self.switch.on:
            return functional.linear(x, self.weight, self.bias)
        out = _type(x)
        flat = x.reshape(-1, self.in_features)
        rows = flat.shape[0]
        if rows % ROWS:
            flat = functional.pad(flat, (0, 0, 0, -rows % ROWS))
        seen = (self.amax, self.inputs, self.amax_gradient, self.gradients)
        y: Tensor = Fp8Product.apply(flat, self.weight, out, self.emulate, *seen)
        if rows % ROWS:
            y = y[:rows]
        if self.bias is not None:
            y = y + self.bias.to(out)
        return y.reshape(*x.shape[:-1], self.out_features)

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> Fp8Linear:
        """What was seen on another device, or in uninitialised memory (to_empty), says nothing."""
        super()._apply(fn, recurse)
        self._forget()
        return self

    def _forget(self) -> None:
        """Buffers, so that compiled and captured graphs may write to them; never saved."""
        device = self.weight.device
        buffers = {
            "amax": torch.full((2,), NEVER, device=device),
            "inputs": torch.zeros(ROWS, self.in_features, dtype=torch.bfloat16, device=device),
            "amax_gradient": torch.full((), NEVER, device=device),
            "gradients": torch.zeros(ROWS, self.out_features, dtype=torch.bfloat16, device=device),
        }
        for name, value in buffers.items():
            self.register_buffer(name, value, persistent=False)


def _type(x: Tensor) -> torch.dtype:
    device = x.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype
