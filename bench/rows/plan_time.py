"""How long an answer takes, the planner's own work and the whole command."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from bench.rows.plan_batches import CARDS, workload
from bench.rows.row import Row
from fleet.capacity.advice.batches import LENGTHS, batches
from profiles.gpus import gpu

ROOT = Path(__file__).resolve().parents[2]
ONE, TABLE = 0.5, 2.0
PLAN = ("plan", "--profile", "h100-fp8", "--tokens", "10B", "--price", "2", "--offline")


def rows(runs: int) -> list[Row]:
    """One plan; the table of 12 GPUs and 8 lengths."""
    return [
        _row("one plan, the whole command", ONE, _seconds(runs, lambda: _command(*PLAN))),
        _row(
            f"batch table of {len(CARDS)} GPUs and {len(LENGTHS)} lengths",
            TABLE,
            _seconds(runs, lambda: batches(workload(), [gpu(name) for name in CARDS], LENGTHS)),
        ),
    ]


def _command(*arguments: str) -> None:
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, str(ROOT / "cli" / "program.py"), *arguments]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, check=False)
    assert done.returncode in (0, 1), done.stderr


def _seconds(runs: int, act: Callable[[], object]) -> list[float]:
    act()  # compiles the bytecode, as the first use of a checkout does
    taken = []
    for _ in range(runs):
        began = time.perf_counter()
        act()
        taken.append(time.perf_counter() - began)
    return taken


def _row(what: str, reach: float, taken: list[float]) -> Row:
    return Row(
        what=what,
        reach=f"under {reach:g} s",
        met=median(taken) < reach,
        shown=f"{median(taken):.2f} s",
        samples={"seconds": taken},
    )
