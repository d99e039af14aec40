"""The same commit gives the same digest on every machine: all that differs between machines, differed at once."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, Project


def clone(project: Project, to: Path) -> Path:
    subprocess.run(["git", "clone", "-q", str(project.root), str(to)], check=True, env=project.env)
    return to


def digest(
    root: Path,
    env: dict[str, str],
    *,
    umask: int = 0o022,
    user: int | None = None,
    clock: str = "",
    python: str = sys.executable,
) -> str:
    command = [python, str(root / "cli/program.py"), "build", "--profile", "small", "--json"]
    if clock and (fake := shutil.which("faketime")):
        command = [fake, clock, *command]
    done = subprocess.run(
        command, cwd=root, env=env, umask=umask, user=user, capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0, done.stderr
    import json

    return str(json.loads(done.stdout)[0]["digest"])


def test_umask_time_zone_locale_home_clock_and_path(small: Project, tmp_path: Path):
    here = digest(small.root, small.env)
    there = clone(small, tmp_path / "an other  place" / "überall")
    env = {
        **small.env,
        "HOME": str(tmp_path),
        "STOKER_HOME": str(tmp_path / "other state"),
        "TZ": "Pacific/Chatham",
        "LC_ALL": "C",
        "LANG": "tr_TR.UTF-8",
        "PYTHONHASHSEED": "12345",
    }
    assert digest(there, env, umask=0o077, clock="2031-05-06 07:08:09") == here


@pytest.mark.skipif(os.geteuid() != 0 and not os.environ.get("CI"), reason="only root can become another user")
def test_another_user(small: Project, tmp_path: Path):
    here = digest(small.root, small.env)
    there = clone(small, tmp_path / "nobody")
    home = tmp_path / "nobodys-home"
    home.mkdir()
    for path in (there, home, *there.rglob("*")):
        os.chown(path, 65534, 65534, follow_symlinks=False)
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_mode & 0o005 != 0o005 and str(folder).startswith("/tmp/"):
            folder.chmod(folder.stat().st_mode | 0o055)
    python = python_for(65534)
    if python is None:
        pytest.skip("another user cannot reach this Python, nor one of the same version")
    packages = {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path.endswith("site-packages"))}
    env = {**small.env, **packages, "HOME": str(home), "STOKER_HOME": str(home / "state")}
    assert digest(there, env, user=65534, python=python) == here


def python_for(user: int) -> str | None:
    """This interpreter, or the system's of the same version: one that lies in /root is out of others' reach."""
    packages = {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path.endswith("site-packages"))}
    check = f"import sys, yaml, pydantic_core; assert sys.version_info[:2] == {sys.version_info[:2]}"
    for program in (sys.executable, "/usr/bin/python3"):
        try:
            done = subprocess.run([program, "-c", check], user=user, capture_output=True, cwd="/", env=packages)
        except OSError:
            continue
        if done.returncode == 0:
            return program
    return None


def test_the_checkout_of_this_run_is_what_is_built(small: Project):
    """Guards the two above: they would pass if nothing of the checkout entered the image."""
    before = digest(small.root, small.env)
    (small.root / "trainer" / "more.py").write_text("x = 1\n")
    small.commit()
    assert digest(small.root, small.env) != before
    assert (ROOT / "trainer").is_dir()
