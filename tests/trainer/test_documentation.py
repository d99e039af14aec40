"""docs/trainer.md is true: its commands run in order, in an empty folder, on a real corpus, and end in transformers."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/trainer.md").read_text(encoding="utf-8")
COMMANDS = [line for block in re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()]
PYTHON = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, corpus) -> Path:
    """Where the reader is: `corpus/` holds plays."""
    place = tmp_path_factory.mktemp("reader")
    (place / "corpus").mkdir()
    for play in sorted(corpus.iterdir())[:8]:
        (place / "corpus" / play.name).write_bytes(play.read_bytes())
    return place


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    env = {"PYTHONPATH": str(ROOT), "PATH": str(Path(sys.executable).parent), "HOME": str(folder)}
    return subprocess.run(
        command,
        cwd=folder,
        env={**env, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.parametrize("line", COMMANDS, ids=lambda line: line[:60])
def test_command(folder: Path, line: str):
    words = re.findall(r'"([^"]*)"|(\S+)', line)
    program, *arguments = [quoted or plain for quoted, plain in words]
    assert program == "python"
    done = run(folder, sys.executable, *arguments)
    assert done.returncode == 0, f"{line}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"


@pytest.mark.slow
def test_what_it_exports_is_loaded_as_the_page_says(folder: Path):
    more = 'print(tokenizer.decode(model.generate(**tokenizer("In the", return_tensors="pt"), max_new_tokens=5)[0]))'
    done = run(folder, sys.executable, "-c", f"{PYTHON[0]}\n{more}")
    assert done.returncode == 0 and done.stdout.startswith("In the"), done.stderr


def test_the_page_shows_the_whole_way():
    used = {line.split()[3] for line in COMMANDS if line.startswith("python -m trainer")}
    assert {"data", "train", "eval", "sample", "export", "inspect", "progress", "presets"} <= used
    assert len(PYTHON) == 1
