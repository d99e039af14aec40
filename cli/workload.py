"""The trainer's model configuration as the planner's shape: the one bridge between the two."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fleet.capacity.shape import Shape
    from trainer.config import Model


def shape_of(model: Model, name: str = "") -> Shape:
    """What the trainer builds of this configuration, counted without torch; tested equal to its built models.

    A depth above 0 decides layers, width and heads, as in the trainer. Raises WrongInput for a family or heads that
    the trainer would refuse.
    """
    from fleet.capacity.families import of_family

    layers, width, heads = dialled(model)
    return of_family(
        model.family,
        layers,
        width,
        heads,
        model.vocab,
        model.context,
        kv_heads=model.kv_heads,
        ffn=model.ffn,
        tied=model.tied,
        name=name,
    )


def dialled(model: Model) -> tuple[int, int, int]:
    """Layers, width and heads, the depth dial applied to a configuration that nobody has resolved yet."""
    if model.depth <= 0:
        return model.layers, model.width, model.heads
    width = model.depth * model.aspect
    return model.depth, width, width // model.head_dim
