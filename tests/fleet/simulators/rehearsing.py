"""The simulators as a user starts them: a program of its own, for tests in which bodies really run."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.fleet.simulators.talking import Talk

ROOT = Path(__file__).resolve().parents[3]


def until(what: Callable[[], Any], seconds: float = 60) -> Any:
    """The first true answer of `what`."""
    end = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end, "it never came"
        time.sleep(0.02)
    return found


@contextmanager
def program(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], Talk]]:
    """`python -m fleet.simulators`, and a talk with its RunPod."""
    command = [sys.executable, "-m", "fleet.simulators", "--runpod", "--speed", "60", *arguments]
    running = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert running.stdout
        yield running, Talk(json.loads(running.stdout.readline())["runpod"])
    finally:
        running.kill()
        running.wait()
