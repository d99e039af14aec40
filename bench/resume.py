"""Kill anything, at any moment, as often as you like: the run that comes out is the run that was never killed.

    .venv/bin/python bench/resume.py                     # about fifteen minutes; writes bench/results/resume.json
    .venv/bin/python bench/resume.py --quick --out /tmp/resume.json
    .venv/bin/python bench/resume.py --only everywhere --only disk --out /tmp/resume.json

Every part is a folder of tiny runs (22 thousand parameters on a CPU): what is proved is the order of events and the
last bit of every number, not speed. Processes are forks of one that has imported torch (bench/rows/resume_warm.py);
a tenth of the random kills falls on the run script as it is baked, with everything it starts. A full disk needs root.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # bench/ as first entry would hide the package trainer
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from bench import measure
from bench.rows import (
    resume_beside,
    resume_damage,
    resume_disk,
    resume_elastic,
    resume_everywhere,
    resume_lottery,
    resume_matrix,
    resume_remote,
    resume_speed,
)
from bench.rows.resume_runs import Broken
from bench.rows.resume_warm import Stuck, Warm
from bench.rows.row import Row

ROOT = Path(__file__).resolve().parent.parent
QUICK_KILLS = 16
Part = Callable[[argparse.Namespace, Warm, Path], list[Row]]


def speed(asked: argparse.Namespace, _: Warm, scratch: Path) -> list[Row]:
    """How long a save holds the training up, and how fast checkpoints are written and read."""
    scratch.mkdir()
    rounds = 1 if asked.quick else 5
    return [resume_speed.stalls(scratch, 2 if asked.quick else 8), *resume_speed.throughput(scratch, rounds)]


def remote(asked: argparse.Namespace, _: Warm, scratch: Path) -> list[Row]:
    """Training beside a store that fails."""
    scratch.mkdir()
    return [resume_remote.beside_a_failing_store(scratch, 1 if asked.quick else 2)]


def restore(asked: argparse.Namespace, _: Warm, scratch: Path) -> list[Row]:
    """A machine that begins with nothing but a store."""
    scratch.mkdir()
    return [resume_remote.from_nothing(scratch, 1 if asked.quick else 3)]


PARTS: dict[str, Part] = {
    "speed": speed,  # first, as long as nothing else has warmed the machine
    "remote": remote,
    "restore": restore,
    "matrix": lambda asked, warm, scratch: resume_matrix.rows(warm, scratch, asked.quick),
    "everywhere": lambda asked, warm, scratch: resume_everywhere.rows(warm, scratch, asked.quick),
    "lottery": lambda asked, warm, scratch: resume_lottery.rows(warm, scratch, asked.kills, asked.quick, asked.seed),
    "damage": lambda asked, warm, scratch: resume_damage.rows(warm, scratch, asked.quick, asked.seed),
    "elastic": lambda _, warm, scratch: resume_elastic.rows(warm, scratch),
    "disk": lambda _, warm, scratch: resume_disk.rows(warm, scratch),
    "beside": lambda _, warm, scratch: resume_beside.rows(warm, scratch),
}


def options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="some of each, in two minutes or three")
    parser.add_argument("--only", action="append", choices=list(PARTS), help="a part; repeatable")
    parser.add_argument("--kills", type=int, help=f"random kills (default 200, quick {QUICK_KILLS})")
    parser.add_argument("--seed", type=int, default=4, help="of all that is drawn (default 4)")
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "results" / "resume.json")
    asked = parser.parse_args(argv)
    asked.kills = asked.kills or (QUICK_KILLS if asked.quick else 200)
    return asked


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the benchmark; 1 when a reach was not met."""
    asked = options(argv)
    began = measure.machine()
    known = earlier(asked.out)
    with tempfile.TemporaryDirectory(prefix="stoker-resume-") as folder, Warm(zero=True) as warm:
        for name in asked.only or PARTS:
            start = time.monotonic()
            rows = part(name, asked, warm, Path(folder) / name)
            known[name] = {
                "command": " ".join(["bench/resume.py", *(sys.argv[1:] if argv is None else argv)]),
                "at": datetime.now(UTC).isoformat(timespec="seconds"),
                "seconds": round(time.monotonic() - start, 1),
                "rows": [row.to_json() for row in rows],
            }
            write(asked.out, began, known)
            for row in rows:
                print(
                    f"{'met   ' if row.met else 'MISSED'} {row.what}: {row.shown} against {row.against_shown} "
                    f"({row.reach})",
                    flush=True,
                )
    return 0 if all(row["met"] is not False for one in known.values() for row in one["rows"]) else 1


def earlier(out: Path) -> dict[str, Any]:
    """The parts that a file of results has: --only replaces its own."""
    return dict(json.loads(out.read_text(encoding="utf-8"))["parts"]) if out.exists() else {}


def write(out: Path, machine: dict[str, Any], parts: dict[str, Any]) -> None:
    """All that is known so far, in the order of PARTS; `rows` are those of all parts."""
    ordered = {name: parts[name] for name in PARTS if name in parts}
    rows = [row for one in ordered.values() for row in one["rows"]]
    result = {
        "command": "bench/resume.py",
        "at": max(one["at"] for one in ordered.values()),
        "machine": machine,
        "seconds": {name: one["seconds"] for name, one in ordered.items()},
        "rows": rows,
        "parts": ordered,
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def part(name: str, asked: argparse.Namespace, warm: Warm, scratch: Path) -> list[Row]:
    """The rows of one part; a promise that was not kept at all is a row of its own, and the others still run."""
    try:
        return PARTS[name](asked, warm, scratch)
    except (Broken, Stuck) as error:
        return [Row(name, "every promise is kept", False, "broken", notes=[str(error)[-4000:]])]


if __name__ == "__main__":
    raise SystemExit(main())
