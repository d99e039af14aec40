"""The scripts that run on rented machines, as texts."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from fleet.providers.hosts.host import SCRIPTS
from tests.conftest import program

NAMES = sorted(path.name for path in SCRIPTS.glob("*.sh"))


def test_shellcheck_finds_nothing():
    done = subprocess.run(
        [program("shellcheck"), "--shell=sh", *(SCRIPTS / name for name in NAMES)], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("shell", [["dash"], ["busybox", "sh"], ["bash", "--posix"]], ids=" ".join)
def test_other_shells_can_read_them(shell: list[str]):
    if not shutil.which(shell[0]):
        pytest.skip(f"no {shell[0]}")
    for name in NAMES:
        done = subprocess.run([*shell, "-n", SCRIPTS / name], capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, ""), name


@pytest.mark.parametrize("name", NAMES)
def test_they_are_short_and_of_ascii_so_that_their_length_is_known_there(name: str):
    text = (SCRIPTS / name).read_text()
    assert text.isascii() and len(text.splitlines()) <= 100 and len(text) < 1 << 16
