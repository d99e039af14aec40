"""Published rows that the planner has words for, and why it has none for the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.rows.published import Published, published, setup_of
from bench.rows.row import Row
from fleet.capacity.count import count
from fleet.capacity.memory.engines import engine_of, moments
from fleet.capacity.memory.memory import memory
from fleet.capacity.setup import Setup
from fleet.capacity.speed.speed import speed
from profiles.errors import WrongInput


@dataclass(frozen=True, slots=True)
class Case:
    """A row and what the planner is asked about it. again: rows before it that the same words describe."""

    row: Published
    setup: Setup
    again: int = 0

    @property
    def name(self) -> str:
        """Tells it from the others of the file."""
        row = self.row
        return (
            f"{row.model} {row.gpu} x{row.gpus} {row.precision} {row.parallelism} length {row.length} micro-batch "
            f"{row.micro_batch}{f' #{self.again + 1}' if self.again else ''}"
        )

    @property
    def reserved(self) -> bool:
        """Whether its program prints what the allocator reserved (torchtitan, components/metrics.py), not tensors."""
        return self.row.kind == "torchtitan"


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A row that is not modelled. case: where it could be, and cannot be true; None: the planner has no word for it."""

    name: str
    why: str
    case: Case | None = None

    def to_json(self) -> dict[str, str]:
        """As the results name it."""
        return {"name": self.name, "why": self.why}


def cases(path: Path) -> tuple[list[Case], list[LeftOut]]:
    """(modelled rows, those that are not), both in the file's order. Raises WrongInput for a file of other columns."""
    known: list[Case] = []
    left_out: list[LeftOut] = []
    seen: Counter[str] = Counter()
    for row in published(path):
        name = ", ".join(part for part in (f"{row.model} on {row.gpus} {row.gpu}", row.parallelism) if part)
        setup = setup_of(row)
        why_not = setup if isinstance(setup, str) else unanswered(setup)
        if isinstance(setup, str) or why_not:
            left_out.append(LeftOut(name, why_not))
            continue
        case = Case(row, setup)
        case = Case(row, setup, seen[case.name])
        seen[Case(row, setup).name] += 1
        wrong = contradiction(row, setup)
        if wrong:
            left_out.append(LeftOut(name, wrong, case))
        else:
            known.append(case)
    return known, left_out


def coverage(known: Sequence[Case], left_out: Sequence[LeftOut]) -> Row:
    """How many rows the other figures are about."""
    whole, untrue = len(known) + len(left_out), sum(one.case is not None for one in left_out)
    return Row(
        what="coverage: modelled of all rows",
        reach="-",
        met=None,
        shown=f"{len(known)} of {whole}" if whole else "no rows",
        against_shown=f"of the other {len(left_out)}, {untrue} for contradicting itself",
        notes=[f"{one.name}: {one.why}" for one in left_out],
    )


def unanswered(setup: Setup) -> str:
    """Why the planner refuses the question: a precision that the GPU has no hardware for, above all."""
    try:
        memory(setup)
        speed(setup)
    except WrongInput as error:
        return error.what
    return ""


def contradiction(row: Published, setup: Setup) -> str:
    """Why the row cannot be what it says: parameters times bytes per parameter are more than its peak."""
    state = least_state(row, setup)
    if row.memory is None or state <= row.memory:
        return ""
    return f"it contradicts itself: the state alone is {state / 1e9:.1f} GB, and its peak {row.memory / 1e9:.1f} GB"


def least_state(row: Published, setup: Setup) -> float:
    """Bytes on one GPU of the weights, gradients, masters and moments that the row states, each over all GPUs that
    share it; no part of the planner's memory model but its table of bytes per parameter.

    0 where not all of them need be there at once: adapters, offload, paged optimizers (which use gradients up as they
    are made)."""
    if setup.adapter or setup.offload != "none" or setup.optimizer.startswith("paged"):
        return 0.0
    engine = engine_of(setup)
    parts = setup.tensor * setup.pipeline
    shared = max(1, setup.gpus // parts)
    weights, gradients, moment = engine.embedding or (engine.weights, engine.gradients, engine.moment)
    smaller = min(1.0, moment / engine.moment)
    state = engine.master + min(moments(setup, engine)) * smaller
    each = (
        min(weights, engine.weights) / (shared if setup.zero >= 3 or (setup.zero == 2 and engine.root) else 1)
        + min(gradients, engine.gradients) / (shared if setup.zero >= 2 else 1)
        + state / (shared if setup.zero >= 1 else 1)
    )
    return (row.params or count(setup.shape).total) / parts * each
