"""The precision a GPU trains a shape in: what was asked, or by `auto` the trainer's own choice."""

from __future__ import annotations

from fleet.capacity.shape import Shape
from profiles.errors import WrongInput
from profiles.gpus import Gpu
from profiles.nearest import nearest
from profiles.precision import INSTEAD, RULES, capability_problem

FROM = 1024  # narrowest product in which FP8 pays: trainer.config Precision.min_dim
STEP = 16  # FP8 products want multiples of it (Transformer Engine, assert_dim_for_fp8_exec)


def resolve(asked: str, gpu: Gpu, shape: Shape) -> tuple[str, str]:
    """(precision, why). Raises WrongInput where the GPU lacks what was asked for by name."""
    if asked == "auto":
        return _auto(gpu, shape)
    if asked == "fp8":
        asked = "fp8-current"
    if asked not in RULES:
        near = nearest(asked, RULES)
        raise WrongInput(
            f"unknown precision `{asked}`", f"did you mean `{near}`?" if near else f"one of: auto, {', '.join(RULES)}"
        )
    problem = capability_problem(asked, RULES[asked], gpu.compute_capability)
    if problem or gpu.peak_for(asked) is None:
        runs = [name for name in INSTEAD if not capability_problem(name, RULES[name], gpu.compute_capability)]
        why = problem or "it has no hardware for it"
        raise WrongInput(f"{asked} does not run on {gpu.name}: {why}", f"--precision {runs[0]}, or another --gpu")
    return asked, "asked for"


def _auto(gpu: Gpu, shape: Shape) -> tuple[str, str]:
    """As trainer.precision.policy does: FP8 where it pays, else bf16, else fp16."""
    if gpu.compute_capability < (8, 0):
        return "fp16", f"{gpu.name} has no bf16"
    sides = (shape.width, shape.query_width + 2 * shape.key_width, shape.query_width, shape.ffn)
    if gpu.compute_capability < (8, 9):
        return "bf16", f"{gpu.name} multiplies no FP8 (that needs compute capability 8.9)"
    if min(sides) < FROM:
        return "bf16", f"FP8 does not pay in products of {min(sides)}, below {FROM}"
    if any(side % STEP for side in sides):
        return "bf16", f"FP8 needs dimensions that are multiples of {STEP}"
    return "fp8-current", f"every block product is at least {min(sides)} wide"
