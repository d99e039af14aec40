"""Compares the canonical tensors of two checkpoints, range by range, by their bits."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from trainer.checkpoint.difference import (
    DIFFERENT,
    EQUAL,
    ONLY_A,
    ONLY_B,
    OTHER_SHAPE,
    OTHER_TYPE,
    Tensor,
)
from trainer.checkpoint.piece import BUFFER, WEIGHT, Stored
from trainer.checkpoint.tensors import Checkpoint

ELEMENTS = 1 << 22  # of a tensor looked at in one go
BITS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}  # by bytes of an element


def compare(a: Path, b: Path, moved: Callable[[int], None] | None = None) -> Iterator[Tensor]:
    """Every tensor of either: weights first, then buffers and the optimizer's state. Raises TrainerError."""
    one, two = Checkpoint(a), Checkpoint(b)
    kinds = sorted(one.kinds() | two.kinds() | {BUFFER}, key=lambda kind: (kind != WEIGHT, kind != BUFFER, kind))
    for kind in kinds:
        ours, theirs = one.names(kind), two.names(kind)
        for name in sorted(ours.keys() | theirs.keys()):
            shape = ours.get(name, theirs.get(name, ()))
            if name not in ours or name not in theirs:
                yield Tensor(kind, name, ONLY_A if name in ours else ONLY_B, math.prod(shape))
            elif ours[name] != theirs[name]:
                yield Tensor(kind, name, OTHER_SHAPE, math.prod(shape))
            else:
                yield _compared(one, two, kind, name, math.prod(shape), moved)


@dataclass
class _Sum:
    differing: int = 0
    absolute: float = 0.0
    largest: float = 0.0

    def add(self, x: torch.Tensor, y: torch.Tensor) -> None:
        """Two ranges of equal type. Minus zero is not zero here, and a NaN equals the same NaN."""
        bits = BITS[x.element_size()]
        unequal = x.view(bits) != y.view(bits)
        count = int(unequal.sum())
        wide = (x.double(), y.double())
        for values in wide:
            finite = values[values.isfinite()]
            if finite.numel():
                self.largest = max(self.largest, float(finite.abs().max()))
        if not count:
            return
        self.differing += count
        gap = float((wide[0][unequal] - wide[1][unequal]).abs().nan_to_num(nan=math.inf).max())
        self.absolute = max(self.absolute, gap)


def _compared(
    one: Stored, two: Stored, kind: str, name: str, elements: int, moved: Callable[[int], None] | None
) -> Tensor:
    total = _Sum()
    for begin in range(0, elements, ELEMENTS):
        end = min(begin + ELEMENTS, elements)
        x, y = one.read(kind, name, begin, end), two.read(kind, name, begin, end)
        if x.dtype != y.dtype:
            return Tensor(kind, name, OTHER_TYPE, elements)
        total.add(x, y)
        if moved is not None:
            moved(2 * x.numel() * x.element_size())
    if not total.differing:
        return Tensor(kind, name, EQUAL, elements, 0, 0.0, 0.0)
    relative = 0.0 if total.absolute == 0 else total.absolute / total.largest if total.largest else math.inf
    return Tensor(kind, name, DIFFERENT, elements, total.differing, total.absolute, relative)
