# mypy: allow-subclassing-any
"""One pre-norm transformer block: attention and MLP, each added to the residual stream.

Selective checkpointing keeps the output of every matrix product and recomputes what is cheap: the norms (llama: norm1
only, its norm2 feeds two products) and the inner part of the MLP (GELU, ReLU^2, SwiGLU). Each such piece is a region
that ends with the product that reads it: PyTorch's checkpoint stops recomputing before that product runs again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainer import config
from trainer.model import attention as kernels
from trainer.model.attention.sdpa import attend_cached
from trainer.model.families import family_of, sizes_of
from trainer.model.norms import norm, plain_norm
from trainer.model.rope import Table, rotate

if TYPE_CHECKING:
    from trainer.model.cache import Slot
    from trainer.precision.backend import Backend


class Attention(nn.Module):
    """Causal self-attention. `qkv` is one matrix, for GEMM size: rows of all query heads, then keys, then values."""

    def __init__(self, shape: config.Model, backend: Backend, kernel: str, eligible: bool) -> None:
        super().__init__()
        family, sizes = family_of(shape), sizes_of(shape)
        self.heads, self.kv_heads, self.head_dim = sizes.heads, sizes.kv_heads, sizes.head_dim
        rows = (sizes.heads + 2 * sizes.kv_heads) * sizes.head_dim
        self.qkv = backend.linear(shape.width, rows, family.bias, eligible)
        self.out = backend.linear(shape.width, shape.width, family.bias, eligible)
        self.qk_norm = plain_norm(family, sizes.head_dim) if family.qk_norm else None
        self.core = kernels.build(kernel, sizes.heads, sizes.kv_heads, sizes.head_dim, shape.dropout)

    def forward(self, qkv: Tensor, table: Table | None, slot: Slot | None) -> Tensor:
        """(B, T, rows of qkv) -> (B, T, width)."""
        batch, length, _ = qkv.shape
        q, k, v = self._split(qkv.view(batch, length, -1, self.head_dim), table)
        if slot is not None:
            first = slot.start == 0
            keys, values = slot.extend(k, v)
            y = self.core(q, k, v, self.training) if first else attend_cached(q, keys, values)
        else:
            y = self.core(q, k, v, self.training)
        return cast(Tensor, self.out(y.reshape(batch, length, self.heads * self.head_dim)))

    def _split(self, parts: Tensor, table: Table | None) -> tuple[Tensor, Tensor, Tensor]:
        """Queries and keys are rotated and normalised together: half as many kernels."""
        both, v = parts.split((self.heads + self.kv_heads, self.kv_heads), dim=2)
        if table is not None:
            both = rotate(both, table)
        if self.qk_norm is not None:
            both = self.qk_norm(both)
        q, k = both.split((self.heads, self.kv_heads), dim=2)
        return q, k, v


class MLP(nn.Module):
    """up, activation, down; SwiGLU has a gate beside up."""

    def __init__(self, shape: config.Model, backend: Backend, eligible: bool) -> None:
        super().__init__()
        family, ffn = family_of(shape), sizes_of(shape).ffn
        self.activation = family.activation
        self.up = backend.linear(shape.width, ffn, family.bias, eligible)
        self.gate = backend.linear(shape.width, ffn, family.bias, eligible) if self.activation == "swiglu" else None
        self.down = backend.linear(ffn, shape.width, family.bias, eligible)

    def narrow(self, up: Tensor, gate: Tensor | None) -> Tensor:
        """The inner part and the last product: (B, T, ffn) -> (B, T, width)."""
        if gate is not None:
            inner = functional.silu(gate) * up
        elif self.activation == "gelu":
            inner = functional.gelu(up, approximate="tanh")
        else:
            inner = functional.relu(up).square()
        return cast(Tensor, self.down(inner))


class Block(nn.Module):
    """x + attention(norm1(x)), then + mlp(norm2(...)); dropout on both branches."""

    def __init__(self, shape: config.Model, backend: Backend, kernel: str, selective: bool, eligible: bool) -> None:
        super().__init__()
        family = family_of(shape)
        self.norm1 = norm(family, shape.width)
        self.attention = Attention(shape, backend, kernel, eligible)
        self.norm2 = norm(family, shape.width)
        self.mlp = MLP(shape, backend, eligible)
        self.drop = nn.Dropout(shape.dropout) if shape.dropout else nn.Identity()
        self.checkpoint = backend.checkpoint if selective else None

    def forward(self, x: Tensor, table: Table | None, slot: Slot | None = None) -> Tensor:
        """(B, T, width) -> (B, T, width). table: rotary positions of these T; slot: this block's cache."""
        x = x + self.drop(self.attention(self._region(self._into_attention, x), table, slot))
        if self.mlp.gate is None:
            up, gate = self._region(self._into_mlp, x), None
        else:
            h = self.norm2(x)
            up, gate = self.mlp.up(h), self.mlp.gate(h)
        return cast(Tensor, x + self.drop(self._region(self.mlp.narrow, up, gate)))

    def _into_attention(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.attention.qkv(self.norm1(x)))

    def _into_mlp(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.mlp.up(self.norm2(x)))

    def _region(self, function: Callable[..., Tensor], *arguments: Tensor | None) -> Tensor:
        if self.checkpoint is None or not torch.is_grad_enabled():
            return function(*arguments)
        return cast(Tensor, self.checkpoint(function, *arguments))
