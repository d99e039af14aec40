"""Tokens per second as predicted against published, whole runs, and the time an answer takes."""

from __future__ import annotations

from statistics import median

from bench.rows.plan_cases import Case
from bench.rows.row import Row
from fleet.capacity.speed.speed import speed

NEAR, FAR = 0.15, 0.30
NEAR_SHARE, FAR_SHARE = 0.80, 0.95


def rows(cases: list[Case]) -> list[Row]:
    """All rows with a rate, together and by where they come from."""
    told = [(case, speed(case.setup).per_gpu) for case in cases if case.row.tokens_per_second]
    errors = [abs(ours.value / (case.row.tokens_per_second or 1) - 1) for case, ours in told]
    inside = sum((ours.low or 0) <= (case.row.tokens_per_second or 0) <= (ours.high or 0) for case, ours in told)
    near, far = _share(errors, NEAR), _share(errors, FAR)
    whole = Row(
        what=f"tokens/s per GPU, {len(told)} rows",
        reach="within 15% for 80%, within 30% for 95%",
        met=near >= NEAR_SHARE and far >= FAR_SHARE if told else None,
        shown=f"{near:.0%} within 15%, {far:.0%} within 30%" if told else "no rows",
        against_shown=f"median error {median(errors):.1%}, {inside} of {len(told)} inside the range told"
        if told
        else "-",
        samples={
            f"{case.name}: ours, published, tokens/s": [ours.value, case.row.tokens_per_second or 0]
            for case, ours in told
        },
    )
    return [whole, *(_kind(kind, told) for kind in sorted({case.row.kind for case, _ in told}))]


def _kind(kind: str, told: list) -> Row:
    errors = [abs(ours.value / case.row.tokens_per_second - 1) for case, ours in told if case.row.kind == kind]
    return Row(
        what=f"tokens/s per GPU, the {len(errors)} of {kind}",
        reach="-",
        met=None,
        shown=f"{_share(errors, NEAR):.0%} within 15%, {_share(errors, FAR):.0%} within 30%",
        against_shown=f"median error {median(errors):.1%}",
    )


def _share(errors: list[float], limit: float) -> float:
    return sum(error <= limit for error in errors) / max(1, len(errors))
