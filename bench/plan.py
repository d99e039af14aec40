"""The planner against published measurements: parameters, peak memory, tokens/s, whole runs; and how fast it answers.

    .venv/bin/python bench/plan.py                                  # seconds; writes bench/results/plan.json
    .venv/bin/python bench/plan.py --rows FILE.csv --whole RUNS.csv # other rows with the columns of those in
                                                                    # tests/data/; printed, and kept with --out FILE
    .venv/bin/python bench/table.py                                 # puts the result into docs/planning.md

It exits with 1 when a reach was missed, after the result is written, and with 2 for a file that it cannot read.
Nothing is fitted here: the constants stand in fleet/capacity/memory and fleet/capacity/speed.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import mean
from typing import Any

if __name__ == "__main__":  # bench/ would hide the packages beside it
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from bench import measure
from bench.rows import plan_batches, plan_counts, plan_memory, plan_seeds, plan_speed, plan_time, plan_whole
from bench.rows.plan_cases import Case, LeftOut, cases, coverage
from bench.rows.published import PUBLIC
from bench.rows.row import Row
from fleet.capacity.memory.memory import memory
from profiles.errors import WrongInput

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "bench" / "results" / "plan.json"


def options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=Path, default=PUBLIC, help="CSV of published rows (default: tests/data/)")
    parser.add_argument("--whole", type=Path, default=plan_whole.WHOLE, help="CSV of whole runs (default: tests/data/)")
    parser.add_argument("--runs", type=int, default=5, help="times each answer is timed; 0: not (default 5)")
    parser.add_argument("--out", type=Path, help="JSON (default: bench/results/plan.json; of other files: none)")
    wish = parser.parse_args(argv)
    wish.own = wish.rows.resolve() == PUBLIC and wish.whole.resolve() == plan_whole.WHOLE
    wish.out = wish.out or (OUT if wish.own else None)
    return wish


def accuracy(known: list[Case], left_out: list[LeftOut], whole: Path = plan_whole.WHOLE) -> list[Row]:
    """All rows but the times. Raises WrongInput for a file of whole runs with other columns."""
    return [
        coverage(known, left_out),
        *plan_counts.rows(known),
        *plan_memory.rows(known),
        peaks_of_all([*known, *(one.case for one in left_out if one.case)]),
        *plan_speed.rows(known),
        *plan_whole.rows(whole),
    ]


def peaks_of_all(known: list[Case]) -> Row:
    """The error of the peak had the rows that contradict themselves been kept."""
    told = [(case, case.row.memory, memory(case.setup)) for case in known]
    errors = [abs(plan_memory.predicted(case, held) / peak - 1) for case, peak, held in told if peak]
    return Row(
        what=f"peak memory, {len(errors)} rows: mean absolute error with those that contradict themselves",
        reach="-",
        met=None,
        shown=f"{mean(errors):.1%}" if errors else "no rows",
        against_shown=f"worst {max(errors):.0%}" if errors else "-",
    )


def main(argv: Sequence[str] | None = None) -> int:
    """0: every reach was met; 1: one was missed; 2: a file cannot be read."""
    wish = options(argv)
    try:
        known, left_out = cases(wish.rows)
        rows = [*accuracy(known, left_out, wish.whole), *(plan_time.rows(wish.runs) if wish.runs else [])]
    except (WrongInput, OSError) as error:
        print(f"{error.what}; {error.next_step}" if isinstance(error, WrongInput) else error, file=sys.stderr)
        return 2
    if wish.out:
        wish.out.write_text(
            json.dumps(result(wish, known, left_out, rows), indent=1, ensure_ascii=False) + "\n", "utf-8"
        )
    for row in rows:
        verdict = {True: "met", False: "MISSED", None: ""}[row.met]
        print(f"{row.what:<60} {row.shown:<42} {row.reach:<40} {verdict}  {row.against_shown}")
    for one in left_out:
        print(f"not modelled: {one.name}: {one.why}")
    return 1 if any(row.met is False for row in rows) else 0


def result(wish: argparse.Namespace, known: list[Case], left_out: list[LeftOut], rows: list[Row]) -> dict[str, Any]:
    """What is kept; the plans of the documents and the batch table only beside the rows of this repository."""
    named = (("--rows", wish.rows, PUBLIC), ("--whole", wish.whole, plan_whole.WHOLE))
    others = [f"{flag} {path.name}" for flag, path, usual in named if path.resolve() != usual]
    return {
        "command": " ".join(["bench/plan.py", *others]),
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": measure.machine(),
        "modelled": len(known),
        "left_out": [one.to_json() for one in left_out],
        "rows": [row.to_json() for row in rows],
        **({"plans": plan_seeds.plans(), "batches": plan_batches.table()} if wish.own else {}),
    }


if __name__ == "__main__":
    sys.exit(main())
