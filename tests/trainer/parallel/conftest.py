"""Runs part.py as ranks; one launch serves many tests, since starting torch and DeepSpeed is what costs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PART = Path(__file__).with_name("part.py")
LAUNCHED = """
import sys
from trainer.parallel.launch import launch
sys.exit(launch([], int(sys.argv[1]), sys.argv[3:], grace=float(sys.argv[2])))
"""


def ranks_environment() -> dict[str, str]:
    known = {name: value for name, value in os.environ.items() if not name.startswith("STOKER_")}
    return {**known, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}


@pytest.fixture(scope="session")
def extensions(tmp_path_factory):
    """Where torch puts what it compiles at run time."""
    return tmp_path_factory.mktemp("extensions") / "torch"


@pytest.fixture(scope="session")
def jobs(torch, tmp_path_factory, extensions):
    """Runs jobs (see part.py) on that many ranks; returns rank 0's results by name."""

    def run(ranks: int, wanted: list[dict]) -> dict:
        folder = tmp_path_factory.mktemp("ranks")
        (folder / "jobs.json").write_text(json.dumps(wanted))
        part = [sys.executable, str(PART), str(folder / "result.pt"), str(folder / "jobs.json")]
        done = subprocess.run(
            [sys.executable, "-c", LAUNCHED, str(ranks), "5", *part],
            env={**ranks_environment(), "TORCH_EXTENSIONS_DIR": str(extensions)},
            capture_output=True,
            text=True,
            timeout=170,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-5000:]
        return torch.load(folder / "result.pt", weights_only=False)

    return run


@pytest.fixture
def launcher(tmp_path):
    """Starts the launcher on a Python program (text) as that many ranks; gives the running process."""
    started = []

    def start(program: str, ranks: int, **variables: str) -> subprocess.Popen:
        file = tmp_path / "program.py"
        file.write_text(program)
        process = subprocess.Popen(
            [sys.executable, "-c", LAUNCHED, str(ranks), "0.5", sys.executable, str(file)],
            env={**ranks_environment(), **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
            process.communicate()
