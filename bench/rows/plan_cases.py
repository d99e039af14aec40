"""Published rows that the planner has words for, and why it has none for the others."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bench.rows.published import Published, published, setup_of
from fleet.capacity.memory.memory import memory
from fleet.capacity.setup import Setup


@dataclass(frozen=True, slots=True)
class Case:
    """A row and what the planner is asked about it."""

    row: Published
    setup: Setup

    @property
    def name(self) -> str:
        """Tells it from the others of the file."""
        row = self.row
        return (
            f"{row.model} {row.gpu} x{row.gpus} {row.precision} {row.parallelism} length {row.length} micro-batch "
            f"{row.micro_batch}"
        )

    @property
    def reserved(self) -> bool:
        """Whether its program prints what the allocator reserved (torchtitan, components/metrics.py), not tensors."""
        return self.row.kind == "torchtitan"


def cases(path: Path) -> tuple[list[Case], dict[str, str]]:
    """(modelled rows, reason by the name of each that is not)."""
    known, left_out = [], {}
    for row in published(path):
        setup = setup_of(row)
        why_not = setup if isinstance(setup, str) else contradiction(row, setup)
        if isinstance(setup, str) or why_not:
            left_out[f"{row.model} on {row.gpus} {row.gpu}, {row.parallelism}"] = why_not
        else:
            known.append(Case(row, setup))
    return known, left_out


def contradiction(row: Published, setup: Setup) -> str:
    """Why the row cannot be what it says: its peak is less than the weights, gradients and moments that it states."""
    state = sum(term.bytes for term in memory(setup).terms if term.kind == "state")
    if row.memory is None or state <= row.memory:
        return ""
    return f"it contradicts itself: the state alone is {state / 1e9:.1f} GB, and its peak {row.memory / 1e9:.1f} GB"
