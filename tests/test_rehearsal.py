"""The rehearsal of docs/providers.md, typed line by line as it stands there, in a checkout of its own."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from images.workbench import Workbench
from tests.conftest import ROOT, Project, free_port, make_project, program

PAGE = (ROOT / "docs/providers.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"<!-- rehearsal -->\n```console\n(.*?)```\n<!-- /rehearsal -->", re.DOTALL)
LINES = [line for block in BLOCK.findall(PAGE) for line in block.splitlines()]
PORTS = ("8801", "8802", "8803")
LONGEST = 900.0  # seconds for all of it; a bound, not a measure
DONE = re.compile(r"\+\+typed (\d+)$", re.MULTILINE)


@pytest.fixture
def checkout(tmp_path: Path, cpu_bench: Workbench) -> Project:
    """A stranger's checkout, with a .venv that has everything, and the base bootstrapped: that alone takes minutes."""
    (tmp_path / "home").mkdir()
    made = make_project(tmp_path / "checkout", tmp_path / "home")
    shutil.copytree(ROOT / "tests", made.root / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    venv = made.root / ".venv"
    (venv / "bin").mkdir(parents=True)
    for lock in ("stoker", "dev"):
        shutil.copy(ROOT / f"requirements/{lock}.lock", venv)
    python = venv / "bin/python"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n', encoding="utf-8")
    python.chmod(0o755)
    (made.root / ".rehearsal").symlink_to(cpu_bench.store.root)
    return made


@contextmanager
def shell(checkout: Project, script: str, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A shell that types `script`; whatever it leaves running is ended."""
    env = {**checkout.env, "OMP_NUM_THREADS": "1", "COLUMNS": "140"}
    del env["STOKER_HOME"]
    with log.open("wb") as out:
        process = subprocess.Popen(
            [program("bash"), "-c", script], cwd=checkout.root, env=env, stdin=subprocess.DEVNULL,
            stdout=out, stderr=subprocess.STDOUT, start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )  # fmt: skip
        try:
            yield process
        finally:
            try:
                os.killpg(process.pid, signal.SIGTERM)
            except ProcessLookupError:
                pass
            process.wait(60)


def typed(lines: list[str], registry: str) -> str:
    """The lines as a script that ends at the first one that fails, with ports that nobody else has."""
    script = "\n".join(f"{line}\necho '++typed {number}'" for number, line in enumerate(lines))
    for port in PORTS:
        script = re.sub(rf"\b{port}\b", str(free_port()), script)
    return "set -e\n" + script.replace("127.0.0.1:5000", registry)


@pytest.mark.slow
def test_every_line_succeeds_and_the_run_is_lost_brought_back_and_done(
    checkout: Project, registry: str, tmp_path: Path
):
    program("curl")
    log = tmp_path / "typed.log"
    with shell(checkout, typed(LINES, registry), log) as process:
        code = process.wait(LONGEST)
    said = log.read_text(errors="replace")
    assert [int(number) for number in DONE.findall(said)] == list(range(len(LINES))), said
    assert code == 0, said

    env = {"STOKER_HOME": str(checkout.root / ".rehearsal"), "STOKER_VAST_URL": "http://127.0.0.1:9"}
    report = checkout.json("report", "night", **env)
    assert report["state"] == "done"
    first, second = report["machines"]
    assert first["id"] != second["id"] and first["ended_because"] and second["ended_because"]
    assert (checkout.root / "backup/checkpoints/step-00001000/manifest.json").is_file()
