"""Transformer Engine's DotProductAttention: cuDNN's fused kernel, or flash-attn, as it decides itself."""

from __future__ import annotations

import importlib
from typing import Any, cast

from torch import Tensor


class TransformerEngine:
    """Holds TE's module without registering it: it has no parameters, and its `_extra_state` would otherwise stand in
    every checkpoint."""

    def __init__(self, heads: int, kv_heads: int, head_dim: int, dropout: float) -> None:
        self.module = dot_product_attention()(
            num_attention_heads=heads,
            kv_channels=head_dim,
            num_gqa_groups=kv_heads,
            attention_dropout=dropout,
            qkv_format="bshd",
            attn_mask_type="causal",
        )

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, training: bool) -> Tensor:
        """See Core."""
        if self.module.training != training:
            self.module.train(training)
        batch, length, heads, head_dim = q.shape
        return cast(Tensor, self.module(q, k, v).view(batch, length, heads, head_dim))  # TE gives (B, T, heads * dim)


def dot_product_attention() -> Any:
    """TE's class. Raises ImportError, or OSError for a library without its driver."""
    return importlib.import_module("transformer_engine.pytorch").DotProductAttention
