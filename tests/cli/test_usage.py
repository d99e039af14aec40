"""Wrong usage: one line, a next step, exit code 2; and help wherever one asks for it."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def inv(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "cli/program.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)


@pytest.mark.parametrize(
    ("command", "what", "next_step"),
    [
        ("bild", "'bild'", "did you mean build?"),
        ("build --profil cpu", "'--profil'", "did you mean --profile?"),
        ("copy", "'source', 'target'", "./inv --help copy"),
        ("smoke --gpus x", "'x' is no whole number", "--help"),
        ("smoke --gpus -1", "--gpus -1", "--gpus 1"),
        ("prune --days -3", "--days -3", "--all"),
        ("bench nothing", "no benchmark nothing", "images"),
    ],
)
def test_is_told_in_two_lines(command: str, what: str, next_step: str):
    done = inv(*command.split())
    assert done.returncode == 2
    error, step = done.stderr.splitlines()
    assert error.startswith("error: ") and what in error
    assert step.startswith("  next: ") and next_step in step
    assert done.stdout == ""


@pytest.mark.parametrize("command", ["verify --help", "copy -h", "--help diff"])
def test_help_needs_no_arguments(command: str):
    done = inv(*command.split())
    assert done.returncode == 0
    assert "Options:" in done.stdout


def test_debug_shows_the_traceback_and_keeps_the_exit_code():
    done = inv("--debug", "profiles", "--show", "nope")
    assert done.returncode == 2
    assert "Traceback" in done.stderr and "error: unknown profile `nope`" in done.stderr


def test_an_error_of_the_system_has_a_next_step(tmp_path: Path):
    (tmp_path / "file").touch()
    command = [sys.executable, str(ROOT / "cli/program.py"), "images"]
    env = {"STOKER_HOME": str(tmp_path / "file"), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(command, capture_output=True, text=True, env=env)
    assert done.returncode == 3
    assert "Not a directory" in done.stderr and "next: " in done.stderr


def test_the_entrance_works_through_a_link(tmp_path: Path):
    (tmp_path / "inv").symlink_to(ROOT / "inv")
    done = subprocess.run([tmp_path / "inv", "--version"], capture_output=True, text=True)
    assert done.stdout.startswith("stoker ")


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_being_stopped_ends_with_75(how: signal.Signals, tmp_path: Path):
    server = socket.create_server(("127.0.0.1", 0))  # a registry that never answers
    ref = f"127.0.0.1:{server.getsockname()[1]}/a:b"
    command = [sys.executable, str(ROOT / "cli/program.py"), "verify", ref]
    running = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=tmp_path)
    with server, server.accept()[0]:
        running.send_signal(how)
        said = running.communicate(timeout=30)[1]
    assert running.returncode == 75
    assert "the same command goes on" in said and "Traceback" not in said
