"""Which part of a model each rank writes when every rank holds all of it."""

from __future__ import annotations

import math
from collections.abc import Mapping


def ranges(shapes: Mapping[str, tuple[int, ...]], rank: int, ranks: int) -> list[tuple[str, int, int]]:
    """(name, begin, end) of what rank `rank` of `ranks` writes: flat ranges of the tensors, never empty.

    All tensors in their order count as one long one, cut into `ranks` ranges whose lengths differ by 1 at most.
    """
    total = sum(math.prod(shape) for shape in shapes.values())
    first, last = total * rank // ranks, total * (rank + 1) // ranks
    found, start = [], 0
    for name, shape in shapes.items():
        length = math.prod(shape)
        begin, end = max(first - start, 0), min(last - start, length)
        if begin < end:
            found.append((name, begin, end))
        start += length
    return found
