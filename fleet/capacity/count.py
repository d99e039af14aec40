"""Parameters of a shape, and the FLOPs one token of it costs. Exact; tested equal to the trainer's built models."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from fleet.capacity.setup import Adapter
from fleet.capacity.shape import Shape


@dataclass(frozen=True, slots=True)
class Counts:
    """Parameters by kind; a tied head counts 0, its matrix is the embedding's."""

    embedding: int
    positions: int
    value_embeddings: int
    attention: int  # matrices
    mlp: int  # matrices
    vectors: int  # norm weights and biases
    head: int
    total: int

    @property
    def matrices(self) -> int:
        """Of the blocks."""
        return self.attention + self.mlp


@dataclass(frozen=True, slots=True)
class Flops:
    """Training FLOPs of one token, forward and backward; a multiply-add is two. Recomputation is not in them."""

    blocks: int  # 6 per parameter of a block's matrices
    head: int  # 6 per element of the head, tied or not
    attention: int  # scores and values in full, 12 * layers * query width * length: PaLM, arXiv 2204.02311, appendix B
    attention_causal: int  # what a causal kernel computes of them: half, without windows
    palm: int  # 6 * all parameters + attention: the denominator of llm-foundry's published MFU

    @property
    def total(self) -> int:
        """Blocks, head and full attention: the trainer's denominator of MFU."""
        return self.blocks + self.head + self.attention

    @property
    def causal(self) -> int:
        """With the attention that a causal kernel computes."""
        return self.blocks + self.head + self.attention_causal


@lru_cache(maxsize=256)
def count(shape: Shape) -> Counts:
    """Exact numbers of parameters."""
    embedding = shape.vocab * shape.width
    positions = shape.context * shape.width if shape.learned_positions else 0
    extra = shape.value_embeddings * shape.vocab * shape.key_width
    attention = shape.layers * _attention(shape)
    mlp = shape.layers * (3 if shape.gated else 2) * shape.width * shape.ffn
    vectors = shape.layers * _block_vectors(shape) + shape.norm_vectors * shape.width
    head = (0 if shape.tied else embedding) + (shape.vocab if shape.head_bias else 0)
    total = embedding + positions + extra + attention + mlp + vectors + head
    return Counts(embedding, positions, extra, attention, mlp, vectors, head, total)


def flops_per_token(shape: Shape, length: int) -> Flops:
    """Training FLOPs per token in sequences of `length` tokens."""
    counts = count(shape)
    attention = 12 * shape.query_width * shape.attended(length)
    causal = round(12 * shape.query_width * shape.attended_causally(length))
    return Flops(6 * counts.matrices, 6 * shape.vocab * shape.width, attention, causal, 6 * counts.total + attention)


def adapter_parameters(shape: Shape, adapter: Adapter) -> int:
    """Of the low-rank matrices: rank * (inputs + outputs) for every product they are on."""
    h, q, k, f = shape.width, shape.query_width, shape.key_width, shape.ffn
    each = {"q": h + q, "k": h + k, "v": h + k, "o": q + h, "mlp": (3 if shape.gated else 2) * (h + f)}
    blocks = sum(size for name, size in each.items() if name in adapter.targets)
    head = shape.width + shape.vocab if "head" in adapter.targets else 0
    return adapter.rank * (shape.layers * blocks + head)


def _attention(shape: Shape) -> int:
    return shape.width * (shape.query_width + 2 * shape.key_width) + shape.query_width * shape.width


def _block_vectors(shape: Shape) -> int:
    norms = shape.norms * shape.norm_vectors * shape.width + (2 * shape.head_dim if shape.qk_norm else 0)
    qkv = shape.query_width + 2 * shape.key_width
    inner = shape.ffn * (2 if shape.gated else 1)
    return norms + {"none": 0, "qkv": qkv, "all": qkv + shape.width + inner + shape.width}[shape.bias]
