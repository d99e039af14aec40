"""Matrices shared out over the ranks: each computes some updates, all get all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


class Share:
    """One rank's part in the work. Every result is computed by one rank alone, from what all ranks hold alike, and
    copied: the same bits for any number of ranks."""

    def __init__(self, rank: int, ranks: int) -> None:
        self.rank, self.ranks = rank, ranks

    def each(
        self, matrices: Sequence[Tensor], compute: Callable[[int], Tensor], apply: Callable[[int, Tensor], None]
    ) -> None:
        """Calls `apply` with the result of `compute` for the number of each matrix, on every rank.

        Rounds of one matrix of the same shape per rank: the gather of a round runs while the next one is computed, and
        no more than two rounds are in memory. A round's last places stay empty where matrices do not divide.
        """
        if self.ranks == 1:
            for number in range(len(matrices)):
                apply(number, compute(number))
            return
        waiting: tuple[list[int], list[Tensor], Any] | None = None
        for numbers in rounds(matrices, self.ranks):
            started = self._start(numbers, matrices[numbers[0]], compute)
            if waiting is not None:
                _finish(*waiting, apply)
            waiting = started
        if waiting is not None:
            _finish(*waiting, apply)

    def _start(
        self, numbers: list[int], like: Tensor, compute: Callable[[int], Tensor]
    ) -> tuple[list[int], list[Tensor], Any]:
        kind = torch.bfloat16 if like.device.type == "cuda" else torch.float32
        if self.rank < len(numbers):
            own = compute(numbers[self.rank]).to(kind).contiguous()
        else:
            own = torch.zeros(like.shape, dtype=kind, device=like.device)
        results = [torch.empty_like(own) for _ in range(self.ranks)]
        return numbers, results, dist.all_gather(results, own, async_op=True)


def rounds(matrices: Sequence[Tensor], ranks: int) -> list[list[int]]:
    """Numbers of the matrices, at most `ranks` of one shape in each list; the same on every rank."""
    shapes: dict[tuple[int, ...], list[int]] = {}
    for number, matrix in enumerate(matrices):
        shapes.setdefault(tuple(matrix.shape), []).append(number)
    return [same[first : first + ranks] for same in shapes.values() for first in range(0, len(same), ranks)]


def _finish(numbers: list[int], results: list[Tensor], work: Any, apply: Callable[[int, Tensor], None]) -> None:
    work.wait()
    for number, result in zip(numbers, results, strict=False):  # results of empty places are left
        apply(number, result)
