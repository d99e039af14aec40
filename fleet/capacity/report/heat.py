"""The batch table as a heat map: GPUs down, sequence lengths across, the shade is the size of the micro-batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log2

from fleet.capacity.report.page import Cell

SHADES = 7


@dataclass(frozen=True, slots=True)
class Heat:
    """rows: a GPU and its cells, one for each of `lengths` (None: not in the plan)."""

    lengths: tuple[int, ...]
    rows: tuple[tuple[str, tuple[Cell | None, ...]], ...]
    most: int

    def shade(self, cell: Cell | None) -> int:
        """1 to SHADES by the logarithm of the micro-batch; 0 where nothing fits."""
        if cell is None or not cell.micro_batch:
            return 0
        return 1 + round((SHADES - 1) * log2(cell.micro_batch) / max(1.0, log2(self.most)))


def heat_of(cells: Sequence[Cell]) -> Heat:
    """The cells in rows and columns, GPUs in the order in which they come."""
    lengths = tuple(sorted({cell.length for cell in cells}))
    at = {(cell.gpu, cell.length): cell for cell in cells}
    gpus = dict.fromkeys(cell.gpu for cell in cells)
    rows = tuple((gpu, tuple(at.get((gpu, length)) for length in lengths)) for gpu in gpus)
    return Heat(lengths, rows, max((cell.micro_batch or 0 for cell in cells), default=0))
