"""Rotary positions (Su et al. 2021, arXiv 2104.09864) in the half-split form of transformers."""

from __future__ import annotations

import torch
from torch import Tensor

Table = tuple[Tensor, Tensor]


class Rope:
    """Cosines and sines per position, made once per device and dtype.

    Angles are computed in fp32 and only then rounded. A plain object, not a buffer: nothing of it is saved, and casting
    the model to bf16 cannot spoil the angles.
    """

    def __init__(self, head_dim: int, context: int, theta: float, sign: int) -> None:
        self.head_dim, self.context, self.theta, self.sign = head_dim, context, theta, sign
        self._tables: dict[tuple[torch.device, torch.dtype], Table] = {}

    def table(self, start: int, length: int, device: torch.device, dtype: torch.dtype) -> Table:
        """Cosines and sines (length, 1, head_dim / 2) of positions start ... start + length - 1; the sign of the
        rotation is in the sines."""
        key = (device, dtype)
        if key not in self._tables:
            with torch.inference_mode(False):  # tables made while sampling must serve training too
                self._tables[key] = self._make(device, dtype)
        cosines, sines = self._tables[key]
        return cosines[start : start + length], sines[start : start + length]

    def _make(self, device: torch.device, dtype: torch.dtype) -> Table:
        exponents = torch.arange(0, self.head_dim, 2, dtype=torch.float32, device=device) / self.head_dim
        places = torch.arange(self.context, dtype=torch.float32, device=device)
        angles = places[:, None, None] * (1.0 / self.theta**exponents)
        return angles.cos().to(dtype), (self.sign * angles.sin()).to(dtype)


def rotate(x: Tensor, table: Table) -> Tensor:
    """Turns the pair (x[i], x[i + head_dim / 2]) of every head by its position's angle: (B, T, heads, head_dim)."""
    cosines, sines = table
    first, second = x.chunk(2, dim=-1)
    return torch.cat((first * cosines - second * sines, second * cosines + first * sines), dim=-1)
