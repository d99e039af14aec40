"""Ctrl-C and SIGTERM end a command that trains nothing with one line and exit code 75, whatever it is at."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

WAITS = """
import signal, sys, types
from trainer import commands
from trainer.run import interrupt

def act(_options):
    try:
        {how}
    except KeyboardInterrupt:
        if not {swallowed}:
            raise
    from trainer.commands import opened
    with opened.needs_torch():
        pass
    return 0

def register(known):
    known.add_parser("wait").set_defaults(act=act)

commands.COMMANDS = (types.SimpleNamespace(register=register),)
from trainer.__main__ import main
if {ignored}:
    signal.signal(signal.{number}, signal.SIG_IGN)
interrupt.install()
sys.exit(main(["wait"]))
"""


def interrupted(environment, folder, number, swallowed=False, ignored=False, how="{}"):
    raised = how.format(f"signal.raise_signal(signal.{number.name})")
    program = WAITS.format(how=raised, number=number.name, swallowed=swallowed, ignored=ignored)
    (folder / "waits.py").write_text(program)  # -m, as users start it: exit codes of -c come about in another way
    return subprocess.run(
        [sys.executable, "-m", "waits"],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("swallowed", [False, True], ids=["raised", "swallowed by an import"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_one_line_and_75(environment, tmp_path, number, swallowed):
    done = interrupted(environment, tmp_path, number, swallowed)
    assert (done.returncode, done.stdout) == (75, "")
    assert done.stderr == "trainer: stopped\n  -> the same command does it again\n"


def test_it_is_75_too_when_it_comes_while_a_dataclass_is_made(environment, tmp_path):
    done = interrupted(environment, tmp_path, signal.SIGINT, how="exec('{}')")
    assert done.returncode == 75 and "Traceback" not in done.stderr


def test_a_signal_that_is_ignored_stays_so(environment, tmp_path):
    assert interrupted(environment, tmp_path, signal.SIGINT, ignored=True).returncode == 0
