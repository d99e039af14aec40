"""What developers run: lint, types, tests, benchmarks."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = ROOT / ".venv" / "bin"


def run(*command: str | Path) -> None:
    """Run a step; a failed one ends the task with its exit code."""
    code = subprocess.run([str(part) for part in command], cwd=ROOT).returncode
    if code:
        raise SystemExit(code)


def lint() -> None:
    """Format, lint, types."""
    run(BIN / "ruff", "format", "--check", "--quiet", ".")
    run(BIN / "ruff", "check", "--quiet", ".")
    run(BIN / "mypy")


def test(fast: bool, pattern: str) -> None:
    """Lint, then pytest, whose own summary ends the output."""
    lint()
    # by file (tests/conftest.py), so that what tests share is made once, and in their order: the longest group first
    options = ["--numprocesses=auto", "--dist=loadscope", "--no-loadscope-reorder"]
    options += ["--fast"] if fast else []
    options += ["-k", pattern] if pattern else []
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # one process per core already
    python = str(BIN / "python")  # as argv[0] too: from it Python finds out that it is the venv's
    os.execv(python, [python, "-m", "pytest", *options])


def bench(name: str) -> None:
    """One benchmark script."""
    script = ROOT / "bench" / f"{name}.py"
    if not script.exists():
        scripts = (path for path in script.parent.glob("*.py") if "__main__" in path.read_text("utf-8"))
        known = ", ".join(sorted(path.stem for path in scripts))
        print(f"error: no benchmark {name}\n  next: choose one of {known}", file=sys.stderr)
        raise SystemExit(2)
    run(BIN / "python", script)
