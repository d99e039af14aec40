"""The proof of `bench/rows/fleet_launches.py` in short: real processes, real HTTP, real SIGKILLs, one reconcile."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.mark.slow
@pytest.mark.parametrize("provider", ["runpod", "vast", "hyperbolic"])
def test_twenty_launches_under_faults_and_kills_leave_no_duplicate_and_no_orphan(provider: str):
    done = subprocess.run(
        [sys.executable, "-m", "bench.rows.fleet_launches", "--provider", provider, "--launches", "20", "--seed", "7"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    row = json.loads(done.stdout)
    assert row["met"] is True
    assert row["median"]["machines"] > 3
    assert row["median"]["killed"] > 0
