"""What the trainer's tests share: torch where it is installed, the trainer as a process, and a small config."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def torch() -> ModuleType:
    """torch; a machine without it skips the test, except CI, where its absence is a failure."""
    if os.environ.get("CI") == "true":
        return importlib.import_module("torch")
    return pytest.importorskip("torch")


@pytest.fixture
def environment(tmp_path, monkeypatch):
    """A process environment in which the checkout's trainer is found and nothing of this machine's settings leaks in."""
    for name in [name for name in os.environ if name.startswith("STOKER_")]:
        monkeypatch.delenv(name)
    paths = [str(Path(sys.executable).parent), os.environ["PATH"]]
    return {**os.environ, "PYTHONPATH": str(ROOT), "PATH": os.pathsep.join(paths), "HOME": str(tmp_path / "home")}


@pytest.fixture
def trainer(environment, tmp_path):
    """Runs `python -m trainer ...` to its end."""

    def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "trainer", *arguments],
            env={**environment, **variables},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run


@pytest.fixture
def small():
    """A config that trains a step in a millisecond or two; dropout makes it depend on the random generator."""
    from trainer.config import Checkpoint, Config, Model, Train

    return Config(
        model=Model(layers=1, heads=2, width=32, context=32, dropout=0.1),
        train=Train(steps=30, micro_batch=4, device="cpu"),
        checkpoint=Checkpoint(every=10, keep=3),
    )
