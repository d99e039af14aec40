"""Whether a shape can be built. No torch: it is asked before a GPU second is spent."""

from __future__ import annotations

from trainer import config
from trainer.config.amounts import divisors
from trainer.errors import TrainerError
from trainer.model.attention.choose import NAMES
from trainer.model.families import family_of, sizes_of


def check_shape(shape: config.Model) -> None:
    """Raises TrainerError, one line with the numbers, for a shape no model can have."""
    family = family_of(shape)
    for name in ("layers", "heads", "width", "context", "vocab"):
        if getattr(shape, name) < 1:
            raise TrainerError(f"model.{name} is {getattr(shape, name)}", f"set model.{name} to 1 or more")
    for name in ("kv_heads", "ffn"):
        if getattr(shape, name) < 0:
            raise TrainerError(f"model.{name} is {getattr(shape, name)}", f"set model.{name} to 0 (the family's own)")
    if not 0.0 <= shape.dropout < 1.0:
        raise TrainerError(f"model.dropout is {shape.dropout}", "set it to 0 or more and below 1")
    if shape.attention not in NAMES:
        raise TrainerError(f"model.attention {shape.attention!r} is not known", f"use one of: {', '.join(NAMES)}")
    _check_heads(shape)
    if family.rope:
        _check_rope(shape)


def check_length(length: int, context: int) -> None:
    """Raises TrainerError for more tokens than the model has positions."""
    if length > context:
        raise TrainerError(
            f"{length} tokens do not fit the model's context of {context}",
            f"give at most {context} tokens, or train with a larger model.context",
        )


def _check_heads(shape: config.Model) -> None:
    if shape.width % shape.heads:
        near = min(divisors(shape.width), key=lambda heads: abs(heads - shape.heads))
        raise TrainerError(
            f"model.heads {shape.heads} does not divide model.width {shape.width}",
            f"set model.heads to {near}, or model.width to a multiple of {shape.heads}",
        )
    if shape.kv_heads and shape.heads % shape.kv_heads:
        raise TrainerError(
            f"model.kv_heads {shape.kv_heads} does not divide model.heads {shape.heads}",
            f"set model.kv_heads to one of {', '.join(map(str, divisors(shape.heads)))}",
        )


def _check_rope(shape: config.Model) -> None:
    head_dim = sizes_of(shape).head_dim
    if head_dim % 2:
        raise TrainerError(
            f"model.width / model.heads is {head_dim}; rotary positions of {shape.family} need it even",
            "choose fewer or more heads",
        )
    if shape.rope_theta <= 0.0:
        raise TrainerError(f"model.rope_theta is {shape.rope_theta}", "set it above 0, for example 10000")
