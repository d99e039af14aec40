"""The canonical form of training state: named fp32 tensors, cut into flat ranges.

The same for DDP and every ZeRO stage, for any number of ranks: a rank writes the ranges it holds, and reads those it
needs, whoever wrote them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from torch import Tensor

WEIGHT = "weight"  # the fp32 master of a parameter
# Besides it, the optimizer's state under its own names: exp_avg, exp_avg_sq, step (AdamW), momentum (Muon).
# A scalar (step) has the shape () and is one piece.
BUFFER = "buffer"  # what the model keeps besides parameters: any dtype, whole, written by rank 0


@dataclass(frozen=True)
class Piece:
    """Elements [begin, begin + tensor.numel()) of a flattened tensor that is `shape` as a whole.

    kind: WEIGHT, BUFFER, or a state of the optimizer; name: the parameter's canonical name (parallel/weights.py);
    tensor: one-dimensional (a scalar state: one element), on any device.
    """

    kind: str
    name: str
    shape: tuple[int, ...]
    begin: int
    tensor: Tensor

    @property
    def end(self) -> int:
        """One behind the last element."""
        return self.begin + int(self.tensor.numel())


class Stored(Protocol):
    """The tensors of one verified checkpoint."""

    def kinds(self) -> set[str]:
        """Those it has; {WEIGHT} alone before the first optimizer step."""
        ...

    def names(self, kind: str) -> dict[str, tuple[int, ...]]:
        """Shapes by name."""
        ...

    def read(self, kind: str, name: str, begin: int = 0, end: int | None = None) -> Tensor:
        """Elements [begin, end) of the flattened tensor as a one-dimensional CPU tensor; end None: all the rest.

        A fresh tensor or a read-only mapping of the file: copy from it, never write to it. Raises TrainerError when the
        checkpoint lacks a part of it.
        """
        ...
