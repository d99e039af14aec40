"""Shapes by rule: the trainer's three families, llm-foundry's MPT, and nanochat by its depth."""

from __future__ import annotations

from fleet.capacity.shape import Shape
from profiles.errors import WrongInput
from profiles.nearest import nearest

FAMILIES = ("gpt2", "llama", "nanochat")
MPT_VOCAB = 50368  # GPT-NeoX's 50277 tokens, padded
MPT_SIZES = {  # layers, width, heads: llm-foundry scripts/train/yamls/pretrain/mpt-*.yaml
    "125m": (12, 768, 12),
    "350m": (24, 1024, 16),
    "760m": (24, 1536, 12),
    "1b": (24, 2048, 16),
    "3b": (32, 2560, 20),
    "7b": (32, 4096, 32),
    "13b": (40, 5120, 40),
    "30b": (48, 7168, 56),
    "70b": (80, 8192, 64),
}
NANOCHAT_HEAD = 128


def of_family(
    family: str,
    layers: int,
    width: int,
    heads: int,
    vocab: int,
    context: int,
    *,
    kv_heads: int = 0,
    ffn: int = 0,
    tied: bool | None = None,
    name: str = "",
) -> Shape:
    """A shape of the trainer's (trainer/model/families.py; tested equal to its built models).

    kv_heads and ffn 0, tied None: the family's own. Raises WrongInput for a family the trainer does not have, and for
    a width that the heads do not divide.
    """
    if family not in FAMILIES:
        near = nearest(family, FAMILIES)
        raise WrongInput(
            f"unknown model family `{family}`",
            f"use one of: {', '.join(FAMILIES)}" if not near else f"did you mean `{near}`?",
        )
    if heads < 1 or width % heads:
        raise WrongInput(f"width {width} is not a multiple of {heads} heads", "change model.width or model.heads")
    gated = family == "llama"
    return Shape(
        name=name or f"{family}-L{layers}-h{width}",
        layers=layers,
        width=width,
        heads=heads,
        kv_heads=kv_heads or heads,
        head_dim=width // heads,
        ffn=ffn or (swiglu_width(width) if gated else 4 * width),
        vocab=vocab,
        context=context,
        gated=gated,
        tied=family == "gpt2" if tied is None else tied,
        learned_positions=family == "gpt2",
        bias="all" if family == "gpt2" else "none",
        norm_vectors={"gpt2": 2, "llama": 1, "nanochat": 0}[family],
    )


def swiglu_width(width: int) -> int:
    """8/3 of the width: three matrices weigh what two of 4 widths do (arXiv 2002.05202); rounded up to 256."""
    return -(-8 * width // (3 * 256)) * 256


def mpt(layers: int, width: int, heads: int, length: int, vocab: int = MPT_VOCAB, name: str = "") -> Shape:
    """llm-foundry's MPT as its benchmarks run it: tied, learned positions for `length` tokens, biases, LayerNorm."""
    return of_family("gpt2", layers, width, heads, vocab, length, name=name or f"mpt-L{layers}-h{width}")


def nanochat(
    depth: int, vocab: int = 32768, value_embeddings: bool = True, context: int = 2048, windows: bool = False
) -> Shape:
    """nanochat's model of `depth` layers (nanochat/gpt.py): 64 of width per layer, heads of 128, vocabulary in 64s.

    value_embeddings: every second layer adds an embedding of its own to the values, the last layer always does (since
    January 2026). windows: of four layers three see half of the context, the last layer sees all of it, as its
    scripts/base_train.py trains since then (window pattern SSSL). Gates and per-layer scalars (a few thousand) are
    not counted.
    """
    width = -(-64 * depth // NANOCHAT_HEAD) * NANOCHAT_HEAD
    heads = width // NANOCHAT_HEAD
    return Shape(
        name=f"nanochat-d{depth}",
        layers=depth,
        width=width,
        heads=heads,
        kv_heads=heads,
        head_dim=NANOCHAT_HEAD,
        ffn=4 * width,
        vocab=-(-vocab // 64) * 64,
        context=context,
        norm_vectors=0,
        value_embeddings=-(-depth // 2) if value_embeddings else 0,
        windowed=sum(layer % 4 != 3 for layer in range(depth - 1)) if windows else 0,
        window=context // 2 if windows else 0,
    )
