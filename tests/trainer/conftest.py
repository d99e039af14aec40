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
    found = importlib.import_module("torch") if os.environ.get("CI") == "true" else pytest.importorskip("torch")
    found.set_num_threads(1)  # as the processes of these tests: sums in another order would differ in the last bit
    return found


@pytest.fixture
def environment(tmp_path, monkeypatch):
    """A process environment that finds the checkout's trainer and knows none of this machine's settings."""
    for name in [name for name in os.environ if name.startswith("STOKER_")]:
        monkeypatch.delenv(name)
    paths = [str(Path(sys.executable).parent), os.environ["PATH"]]
    own = {"PYTHONPATH": str(ROOT), "PATH": os.pathsep.join(paths), "HOME": str(tmp_path / "home")}
    return {**os.environ, **own, "OMP_NUM_THREADS": "1"}


@pytest.fixture
def trainer(environment, tmp_path):
    """Runs `python -m trainer ...` to its end."""

    def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "trainer", *arguments],
            env={**environment, **_told(), **variables},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run


def _told() -> dict[str, str]:
    """What the test itself has set since."""
    return {name: value for name, value in os.environ.items() if name.startswith("STOKER_")}


@pytest.fixture
def small():
    """A config that trains a step in a millisecond or two; dropout makes it depend on the random generator."""
    from trainer.config import Checkpoint, Config, Model, Train

    return Config(
        model=Model(layers=1, heads=2, width=32, context=32, dropout=0.1),
        train=Train(steps=30, batch=4, device="cpu"),
        checkpoint=Checkpoint(every=10, keep=3),
    )


@pytest.fixture
def weights_of(torch):
    """The parameters in a run's checkpoint of a step, by name."""
    from trainer.checkpoint.folder import name_of
    from trainer.checkpoint.tensors import Checkpoint

    def read(run: Path, step: int):
        stored = Checkpoint(run / "checkpoints" / name_of(step))
        return {name: stored.whole("weight", name) for name in stored.names("weight")}

    return read


@pytest.fixture(scope="session")
def corpus(tmp_path_factory) -> Path:
    """A folder with 5 MB of real English, 42 text files; not to be changed."""
    from tests.trainer.data import corpora

    return corpora.plays(tmp_path_factory.mktemp("plays"))


@pytest.fixture(scope="session")
def gpt2_files(tmp_path_factory) -> Path:
    """A folder with GPT-2's own vocab.bpe and encoder.json; not to be changed."""
    from tests.trainer.data import corpora

    return corpora.gpt2(tmp_path_factory.mktemp("gpt2"))
