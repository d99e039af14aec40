"""The three families as data, and the sizes a shape leaves to its family. No torch: counting and checking need none.

Conventions are those of transformers 5.23 (GPT2LMHeadModel, LlamaForCausalLM, NanoChatForCausalLM), so that an export
gives the same logits.
"""

from __future__ import annotations

from dataclasses import dataclass

from trainer import config
from trainer.errors import TrainerError


@dataclass(frozen=True)
class Family:
    """What sets one family apart from the others."""

    name: str
    norm: str  # layer (weight and bias), rms (weight), plain (RMS without a weight)
    eps: float  # of every norm
    activation: str  # gelu (tanh form), swiglu, relu2
    bias: bool  # on the linear layers of the blocks; the head never has one
    tied: bool  # head shares the embedding's matrix, when the shape does not say
    rope: int  # 0: learned positions; else the sign of the rotation: +1 llama, -1 nanochat (turns the other way)
    qk_norm: bool  # queries and keys normalised after the rotation
    embedding_norm: bool  # a norm between embedding and first block
    soft_cap: float  # logits become cap * tanh(logits / cap); 0: they stay


FAMILIES = {
    "gpt2": Family("gpt2", "layer", 1e-5, "gelu", True, True, 0, False, False, 0.0),
    "llama": Family("llama", "rms", 1e-6, "swiglu", False, False, 1, False, False, 0.0),
    "nanochat": Family("nanochat", "plain", 1e-6, "relu2", False, False, -1, True, True, 15.0),
}


@dataclass(frozen=True)
class Sizes:
    """A shape with its zeros and nulls resolved."""

    heads: int
    kv_heads: int
    head_dim: int
    ffn: int  # inner width of the MLP
    tied: bool


def family_of(shape: config.Model) -> Family:
    """The shape's family. Raises TrainerError for a name that is none."""
    try:
        return FAMILIES[shape.family]
    except KeyError:
        known = ", ".join(FAMILIES)
        raise TrainerError(f"model.family {shape.family!r} is not known", f"use one of: {known}") from None


def sizes_of(shape: config.Model) -> Sizes:
    """What the blocks are built with. Needs a shape that check_shape accepts."""
    family = family_of(shape)
    tied = family.tied if shape.tied is None else shape.tied
    return Sizes(
        heads=shape.heads,
        kv_heads=shape.kv_heads or shape.heads,
        head_dim=shape.width // shape.heads,
        ffn=shape.ffn or _own_ffn(family, shape.width),
        tied=tied,
    )


def _own_ffn(family: Family, width: int) -> int:
    """4 widths; SwiGLU has three matrices instead of two, so 8/3 widths cost the same (Shazeer 2020, arXiv 2002.05202),
    rounded up to 256 for whole tiles."""
    if family.activation != "swiglu":
        return 4 * width
    return -(-8 * width // (3 * 256)) * 256
