"""The fleet against simulated providers: no machine twice, none forgotten, none beyond its limits; whatever crashes.

    .venv/bin/python bench/fleet.py                     # writes bench/results/fleet.json; --help for how long
    .venv/bin/python bench/fleet.py --quick --out /tmp/fleet.json
    .venv/bin/python bench/fleet.py --only launches --only secrets --out /tmp/fleet.json

The providers are fleet/simulators on loopback: what they make up is told at /_sim/invented. Launches, kills, watching
and ending are the real ones. Parts: launches (the longest: an hour and more), preemptions, limits, offers, secrets,
polling; a part that was run alone replaces its own in the file. Needs no key and reaches nobody.

It exits with 1 when a reach was missed, after the result is written.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # bench/ as first entry would hide the packages beside it
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from bench import measure
from bench.rows.row import Row

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "bench" / "results" / "fleet.json"
PROVIDERS = ("runpod", "vast", "hyperbolic")
Part = Callable[[argparse.Namespace], list[Row]]


def launches(asked: argparse.Namespace) -> list[Row]:
    """Creates whose answers are lost, and our process killed."""
    much = ("--launches", str(asked.launches), "--seed", str(asked.seed))
    return [apart("bench.rows.fleet_launches", "--provider", name, *much) for name in PROVIDERS]


def preemptions(asked: argparse.Namespace) -> list[Row]:
    """A training run that loses its machine again and again."""
    much = ("--preemptions", str(asked.preemptions), "--seed", str(asked.seed))
    return [apart("bench.rows.fleet_preemptions", *much)]


def apart(module: str, *words: str) -> Row:
    """The row that a module prints as JSON, from a process of its own: it forks, and takes signals."""
    command = [sys.executable, "-m", module, *words]
    done = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    value = json.loads(done.stdout)
    return Row(**{field.name: value[field.name] for field in dataclasses.fields(Row)})


def limits(asked: argparse.Namespace) -> list[Row]:
    """Nobody watches, and it ends."""
    found: list[Row] = import_module("bench.rows.fleet_limits").rows(asked.quick)
    return found


def offers(asked: argparse.Namespace) -> list[Row]:
    """All providers at once."""
    found: list[Row] = import_module("bench.rows.fleet_offers").rows(1 if asked.quick else 5)
    return found


def secrets(asked: argparse.Namespace) -> list[Row]:
    """Planted, and looked for everywhere."""
    found: list[Row] = import_module("bench.rows.fleet_secrets").rows(PROVIDERS[:1] if asked.quick else PROVIDERS)
    return found


def polling(asked: argparse.Namespace) -> list[Row]:
    """Ten runs, watched."""
    found: list[Row] = import_module("bench.rows.fleet_polling").rows(asked.quick)
    return found


PARTS: dict[str, Part] = {
    "launches": launches,
    "preemptions": preemptions,
    "limits": limits,
    "offers": offers,
    "secrets": secrets,
    "polling": polling,
}


def options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="some of each, in minutes")
    parser.add_argument("--only", action="append", choices=list(PARTS), help="a part; repeatable")
    parser.add_argument("--launches", type=int, help="at each provider (default 1000, quick 20)")
    parser.add_argument("--preemptions", type=int, help="of one run (default 100, quick 3)")
    parser.add_argument("--seed", type=int, default=6, help="of all that is drawn (default 6)")
    parser.add_argument("--out", type=Path, default=OUT, help="JSON (default: bench/results/fleet.json)")
    asked = parser.parse_args(argv)
    asked.launches = asked.launches or (20 if asked.quick else 1000)
    asked.preemptions = asked.preemptions or (3 if asked.quick else 100)
    return asked


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the benchmark; 1 when a reach was not met."""
    asked = options(argv)
    machine = measure.machine()
    known = earlier(asked.out)
    for name in asked.only or PARTS:
        began = time.monotonic()
        rows = part(name, asked)
        known[name] = {
            "command": " ".join(["bench/fleet.py", *(sys.argv[1:] if argv is None else argv)]),
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "seconds": round(time.monotonic() - began, 1),
            "rows": [row.to_json() for row in rows],
        }
        write(asked.out, machine, known)
        for row in rows:
            verdict = {True: "met   ", False: "MISSED", None: "      "}[row.met]
            print(f"{verdict} {row.what}: {row.shown} against {row.against_shown} ({row.reach})", flush=True)
    return 0 if all(row["met"] is not False for one in known.values() for row in one["rows"]) else 1


def part(name: str, asked: argparse.Namespace) -> list[Row]:
    """The rows of one part. One that breaks is a row that is missed, and the others still run."""
    try:
        return PARTS[name](asked)
    except Exception:
        return [Row(name, "it can be measured", False, "broken", notes=[traceback.format_exc()[-4000:]])]


def earlier(out: Path) -> dict[str, Any]:
    """The parts that a file of results has: --only replaces its own."""
    return dict(json.loads(out.read_text(encoding="utf-8"))["parts"]) if out.exists() else {}


def write(out: Path, machine: dict[str, Any], parts: dict[str, Any]) -> None:
    """All that is known so far, in the order of PARTS; `rows` are those of all parts."""
    ordered = {name: parts[name] for name in PARTS if name in parts}
    result = {
        "command": "bench/fleet.py",
        "at": max(one["at"] for one in ordered.values()),
        "machine": machine,
        "seconds": {name: one["seconds"] for name, one in ordered.items()},
        "rows": [row for one in ordered.values() for row in one["rows"]],
        "parts": ordered,
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    raise SystemExit(main())
