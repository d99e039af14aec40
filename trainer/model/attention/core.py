"""What every attention kernel offers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from torch import Tensor


class Core(Protocol):
    """Causal softmax(q k^T / sqrt(head_dim)) v."""

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, training: bool) -> Tensor:
        """q (B, T, heads, head_dim), k and v (B, T, kv_heads, head_dim) -> (B, T, heads, head_dim).

        Query head h reads key head h // (heads / kv_heads). Dropout only while training. The tensors may be strided
        views; only their last dimension is contiguous.
        """
        ...
