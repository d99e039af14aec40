"""What a shape weighs and what a token of it costs, by formula. No torch: presets are counted in a blink."""

from __future__ import annotations

from dataclasses import dataclass

from trainer import config
from trainer.model.families import Family, Sizes, family_of, sizes_of


@dataclass(frozen=True)
class Counts:
    """Parameters by kind; a tied head counts 0, its matrix is the embedding's."""

    embedding: int
    positions: int
    matrices: int  # of the blocks
    vectors: int  # norm weights and biases
    head: int
    total: int


@dataclass(frozen=True)
class Flops:
    """Training FLOPs of one token: forward and backward, a multiply-add is two."""

    matrices: int  # 6 per parameter that multiplies: blocks and head (tied or not); the embedding look-up costs none
    attention: int  # scores and values counted in full: 12 * layers * width * length, as PaLM and nanochat do
    attention_causal: int  # half of it: what a causal kernel really computes
    total: int  # matrices + attention: the usual denominator of MFU
    total_causal: int  # matrices + attention_causal


def count(shape: config.Model) -> Counts:
    """Exact numbers of parameters of trainer.model.gpt.GPT(shape)."""
    family, sizes = family_of(shape), sizes_of(shape)
    embedding = shape.vocab * shape.width
    positions = 0 if family.rope else shape.context * shape.width
    matrices = shape.layers * _block_matrices(shape.width, family, sizes)
    vectors = shape.layers * _block_vectors(shape.width, family, sizes) + _norm(shape.width, family)
    head = 0 if sizes.tied else embedding
    return Counts(embedding, positions, matrices, vectors, head, embedding + positions + matrices + vectors + head)


def flops_per_token(shape: config.Model, length: int) -> Flops:
    """Training FLOPs per token at sequences of `length` tokens (PaLM, arXiv 2204.02311, appendix B:
    6 N + 12 L H Q T). Recomputation by activation checkpointing is not counted: MFU, not HFU."""
    multiplying = count(shape).matrices + shape.vocab * shape.width
    attention = 12 * shape.layers * shape.width * length
    matrices = 6 * multiplying
    half = attention // 2
    return Flops(matrices, attention, half, matrices + attention, matrices + half)


def _block_matrices(width: int, family: Family, sizes: Sizes) -> int:
    attention = width * (sizes.heads + 2 * sizes.kv_heads) * sizes.head_dim + width * width
    mlp = (3 if family.activation == "swiglu" else 2) * width * sizes.ffn
    return attention + mlp


def _block_vectors(width: int, family: Family, sizes: Sizes) -> int:
    norms = 2 * _norm(width, family)
    if not family.bias:
        return norms
    attention = (sizes.heads + 2 * sizes.kv_heads) * sizes.head_dim + width
    return norms + attention + sizes.ffn + width


def _norm(width: int, family: Family) -> int:
    return {"layer": 2 * width, "rms": width, "plain": 0}[family.norm]
