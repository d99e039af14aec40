"""The dimensions of a decoder: all that counting, memory and speed need of a model."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Shape:
    """A decoder-only transformer. All sizes are numbers of elements, nothing is padded later.

    bias: which linear layers of the blocks have one. norms: per block; norm_vectors: vectors of `width` in each (2:
    LayerNorm, 1: RMSNorm or LayerNorm without bias, 0: no weights). value_embeddings: layers that add a vocab x
    (kv_heads x head_dim) embedding of their own to the values (nanochat since January 2026). windowed: layers that see
    only the last `window` tokens; the others see the whole sequence.
    """

    name: str
    layers: int
    width: int
    heads: int
    kv_heads: int
    head_dim: int
    ffn: int
    vocab: int
    context: int
    gated: bool = False  # three MLP matrices instead of two
    tied: bool = False  # the head is the embedding
    learned_positions: bool = False
    bias: str = "none"  # none, qkv, all
    head_bias: bool = False
    norms: int = 2
    norm_vectors: int = 1
    qk_norm: bool = False  # with a weight per head dimension, for queries and for keys
    value_embeddings: int = 0
    windowed: int = 0
    window: int = 0

    @property
    def key_width(self) -> int:
        """Elements of a token's keys (and values) in one layer."""
        return self.kv_heads * self.head_dim

    @property
    def query_width(self) -> int:
        """Elements of a token's queries in one layer; the width in most models."""
        return self.heads * self.head_dim

    def attended(self, length: int) -> int:
        """Positions a token looks at, summed over the layers, when nothing is masked: `layers * length` without
        windows. What PaLM's and nanochat's FLOPs count."""
        return (self.layers - self.windowed) * length + self.windowed * min(self.window, length)

    def attended_causally(self, length: int) -> float:
        """Those that a causal kernel computes, on average over the sequence: of a window w, w - w^2 / (2 length)."""
        seen = min(self.window, length)
        return (self.layers - self.windowed) * length / 2 + self.windowed * (seen - seen * seen / (2 * length))
