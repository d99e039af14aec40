"""A real run of the trainer on this CPU, some seconds long."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fleet.capacity.families import of_family

ROOT = Path(__file__).resolve().parents[4]
SHAPE = of_family("nanochat", layers=2, width=128, heads=2, vocab=512, context=64)
SETTINGS = {
    "model.family": "nanochat",
    "model.layers": SHAPE.layers,
    "model.heads": SHAPE.heads,
    "model.width": SHAPE.width,
    "model.context": SHAPE.context,
    "model.vocab": SHAPE.vocab,
    "train.batch": 8,
    "train.micro_batch": 4,
    "train.device": "cpu",
    "checkpoint.every": 10,
    "evaluate.every": 10,
    "evaluate.tokens": 2048,
    "limits.price": 2.0,
}


def train(run: Path, optimizer: str = "adamw", steps: int = 20, **more: object) -> Path:
    """The run folder. Without torch the test is skipped, with CI=true it fails. more: settings, a dot as `__`."""
    importlib.import_module("torch") if os.environ.get("CI") == "true" else pytest.importorskip("torch")
    settings = SETTINGS | {"optim.name": optimizer} | {name.replace("__", "."): value for name, value in more.items()}
    env = {name: value for name, value in os.environ.items() if not name.startswith("STOKER_")}
    done = subprocess.run(
        [
            *(sys.executable, "-m", "trainer", "train", "--run", str(run), "--steps", str(steps)),
            *(f"--set={name}={value}" for name, value in settings.items()),
        ],
        env=env | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return run
