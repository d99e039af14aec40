"""What the readers of DeepSpeed's layouts give: flat ranges of parameters with their Adam moments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from trainer.checkpoint.piece import WEIGHT
from trainer.errors import OUTSIDE_FAILED, TrainerError

MOMENTS = ("exp_avg", "exp_avg_sq")
STEP = "step"
Shapes = dict[str, tuple[int, ...]]  # by the name that DeepSpeed saw


@dataclass(frozen=True)
class Slice:
    """Elements from `begin` of the flattened parameter `name`.

    tensors: by kind (weight, and exp_avg and exp_avg_sq once a step was taken), flat and of one length, of any float
    type; step: Adam's count.
    """

    name: str
    begin: int
    tensors: Mapping[str, Tensor]
    step: float | None

    @property
    def length(self) -> int:
        """Elements."""
        return int(self.tensors[WEIGHT].numel())


@dataclass(frozen=True)
class Part:
    """What one rank's file holds. scaler: an object with the attributes of DynamicLossScaler, or of a static one."""

    rank: int
    slices: Sequence[Slice]
    scaler: Any = None


@dataclass(frozen=True)
class Flat:
    """One tensor that the optimizer updates, flat: its master, its moments and its step; no moments before a step."""

    master: Tensor
    moments: Mapping[str, Tensor]
    step: float | None

    def cut(self, name: str, begin: int, start: int, length: int) -> Slice:
        """Elements [start, start + length) of it as elements of a parameter. Raises TrainerError beyond its end."""
        tensors = {WEIGHT: self.master, **self.moments}
        short = [kind for kind, tensor in tensors.items() if start + length > tensor.numel()]
        if start < 0 or length < 0 or short:
            raise damaged(f"its flat tensors end before {name} does")
        return Slice(name, begin, {kind: one.narrow(0, start, length) for kind, one in tensors.items()}, self.step)


def flat(master: Any, state: Mapping[str, Any], options: Mapping[str, Any]) -> Flat:
    """A tensor of an optimizer with its state. options: its parameter group, where FusedAdam once kept the step.

    Raises TrainerError for the state of another optimizer than Adam.
    """
    if not isinstance(master, Tensor) or not master.is_floating_point():
        raise damaged("a master is no tensor of numbers")
    moments = {str(kind): one.reshape(-1) for kind, one in state.items() if isinstance(one, Tensor) and one.dim() > 0}
    if moments and moments.keys() != set(MOMENTS):
        raise TrainerError(
            f"its optimizer keeps {', '.join(sorted(moments))}; only Adam's exp_avg and exp_avg_sq are understood",
            "import needs a checkpoint of Adam or AdamW (torch's, FusedAdam, DeepSpeedCPUAdam)",
        )
    if not moments:
        return Flat(master.reshape(-1), {}, None)
    step = number(state.get(STEP))
    step = number(options.get(STEP)) if step is None else step
    if step is None:
        raise damaged("its optimizer state has no step")
    return Flat(master.reshape(-1), moments, step)


def number(value: Any) -> float | None:
    """A number, also as a tensor of one element; None for anything else."""
    if isinstance(value, Tensor) and value.numel() == 1:
        return float(value)
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def shapes(model: Mapping[str, Any]) -> list[Shapes]:
    """By parameter group, names and shapes in the order in which they lie in its flat tensor (`param_shapes`)."""
    groups = model.get("param_shapes")
    if not isinstance(groups, list):
        raise damaged("its model_states file has no param_shapes")
    return [{str(name): tuple(int(size) for size in shape) for name, shape in group.items()} for group in groups]


def damaged(reason: str) -> TrainerError:
    """A checkpoint whose parts do not fit together."""
    hint = "copy the folder again from where it was written, or name another with --tag"
    return TrainerError(f"the DeepSpeed checkpoint cannot be used: {reason}", hint, OUTSIDE_FAILED)
