"""The planner against published measurements: parameters, peak memory, tokens/s, whole runs; and how fast it answers.

    .venv/bin/python bench/plan.py                                  # seconds; writes bench/results/plan.json
    .venv/bin/python bench/plan.py --rows FILE.csv --out OUT.json   # other rows with the columns of tests/data/
    .venv/bin/python bench/table.py                                 # puts the result into docs/planning.md

Nothing is fitted here: the constants stand in fleet/capacity/memory and fleet/capacity/speed.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

if __name__ == "__main__":  # bench/ would hide the packages beside it
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from bench import measure
from bench.rows import plan_batches, plan_counts, plan_memory, plan_seeds, plan_speed, plan_time, plan_whole
from bench.rows.plan_cases import cases
from bench.rows.published import PUBLIC

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "bench" / "results" / "plan.json"


def options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=Path, default=PUBLIC, help="CSV of published rows (default: tests/data/)")
    parser.add_argument("--runs", type=int, default=5, help="times each answer is timed; 0: not (default 5)")
    parser.add_argument("--out", type=Path, default=OUT)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    wish = options(argv)
    known, left_out = cases(wish.rows)
    rows = [
        *plan_counts.rows(known),
        *plan_memory.rows(known),
        *plan_speed.rows(known),
        *plan_whole.rows(),
        *(plan_time.rows(wish.runs) if wish.runs else []),
    ]
    result = {
        "command": "bench/plan.py" if wish.rows == PUBLIC else f"bench/plan.py --rows {wish.rows.name}",
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": measure.machine(),
        "modelled": len(known),
        "left_out": left_out,
        "rows": [row.to_json() for row in rows],
        **({"plans": plan_seeds.plans(), "batches": plan_batches.table()} if wish.rows == PUBLIC else {}),
    }
    for row in rows:
        verdict = {True: "met", False: "MISSED", None: ""}[row.met]
        print(f"{row.what:<60} {row.shown:<42} {row.reach:<40} {verdict}  {row.against_shown}")
    for name, why in left_out.items():
        print(f"not modelled: {name}: {why}")
    wish.out.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
