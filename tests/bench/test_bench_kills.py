"""The short form of the proof in bench/kills.py: a few kills instead of hundreds."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_killed_builds_and_pushes_always_finish_with_the_same_digest(tmp_path: Path):
    out = tmp_path / "kills.json"
    command = [sys.executable, str(ROOT / "bench/kills.py"), "--kills", "8", "--out", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(out.read_text())
    assert result["kills"] >= 8
    assert result["same_digest"] == result["rounds"] > 0
