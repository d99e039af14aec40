"""Peak memory as predicted against published, cards that were full, and cards that were not."""

from __future__ import annotations

from statistics import mean

from bench.rows.plan_cases import Case
from bench.rows.row import Row
from fleet.capacity.memory.memory import Memory, memory

REACH, SPARE, INSIDE = 0.08, 0.05, 0.9


def rows(cases: list[Case]) -> list[Row]:
    """Of the rows with a peak and its range, of those that ran out of memory, and of those that ran."""
    weighed = [(case, memory(case.setup)) for case in cases]
    return [_error(weighed), _inside(weighed), _refused(weighed), _ran(weighed)]


def predicted(case: Case, held: Memory) -> float:
    """Bytes comparable with what the row's program prints: tensors, or what the allocator reserved."""
    return held.reserved if case.reserved else held.allocated


def _error(weighed: list[tuple[Case, Memory]]) -> Row:
    told = [(case, predicted(case, held), case.row.memory) for case, held in weighed if case.row.memory]
    errors = [abs(ours / theirs - 1) for _, ours, theirs in told]
    return Row(
        what=f"peak memory, {len(told)} rows: mean absolute error",
        reach="at most 8%",
        met=bool(errors) and mean(errors) <= REACH,
        shown=f"{mean(errors):.1%}" if errors else "no rows",
        against_shown=f"worst {max(errors):.0%}" if errors else "-",
        samples={f"{case.name}: ours, published, GB": [ours / 1e9, theirs / 1e9] for case, ours, theirs in told},
    )


def _inside(weighed: list[tuple[Case, Memory]]) -> Row:
    """The range told is of the total; what was published is brought to it in proportion."""
    told = [(case, held, _as_total(case, held)) for case, held in weighed if case.row.memory]
    within = sum(held.low <= peak <= held.high for _, held, peak in told)
    above = [case.name for case, held, peak in told if peak > held.high]
    return Row(
        what=f"peak memory, {len(told)} rows: inside the range told",
        reach="at least 9 in 10, none above",
        met=bool(told) and within >= INSIDE * len(told) and not above,
        shown=f"{within} of {len(told)} inside" if told else "no rows",
        against_shown=f"{len(above)} above its high end, {len(told) - within - len(above)} below its low end",
        samples={
            f"{case.name}: low, published, high, GB of the total": [held.low / 1e9, peak / 1e9, held.high / 1e9]
            for case, held, peak in told
        },
        notes=[f"above: {name}" for name in above],
    )


def _as_total(case: Case, held: Memory) -> float:
    """The published peak with the context and the fragments that such a number leaves out."""
    assert case.row.memory is not None
    return case.row.memory / predicted(case, held) * held.total


def _refused(weighed: list[tuple[Case, Memory]]) -> Row:
    full = [(case, held) for case, held in weighed if case.row.out_of_memory]
    wrong = [case.name for case, held in full if held.verdict != "refused"]
    return Row(
        what=f"published out-of-memory cases, {len(full)}",
        reach="every one refused",
        met=not wrong,
        shown=f"{len(full) - len(wrong)} of {len(full)} refused",
        samples={case.name: [held.total / 1e9, held.capacity / 1e9] for case, held in full},
        notes=[f"not refused: {name}" for name in wrong],
    )


def _ran(weighed: list[tuple[Case, Memory]]) -> Row:
    """A row that ran may be refused only where it truly filled its card to within 5%."""
    ran = [(case, held) for case, held in weighed if not case.row.out_of_memory]
    refused = [(case, held) for case, held in ran if held.verdict == "refused"]
    wrong = [case.name for case, held in refused if not _was_full(case, held)]
    surely = sum(held.verdict == "fits" for _, held in ran)
    return Row(
        what=f"rows that ran, {len(ran)}",
        reach="none refused with more than 5% to spare",
        met=not wrong,
        shown=f"{len(wrong)} refused",
        against_shown=f"{surely} surely fit, {len(ran) - surely - len(refused)} tight, {len(refused)} refused",
        samples={},
        notes=[f"refused: {case.name}, {held.total / held.capacity:.2f} of the card" for case, held in refused],
    )


def _was_full(case: Case, held: Memory) -> bool:
    """What was published left less than 5%."""
    return case.row.memory is not None and _as_total(case, held) > (1 - SPARE) * held.capacity
