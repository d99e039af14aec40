"""The programs of a simulated machine: this machine's own, but for those that would change it or that the rented one
has others of."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Collection
from pathlib import Path

ROOT = Path(__file__).parents[3]
FOLDERS = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
ENGINE = ("docker",)
PROGRAMS = ("nvidia-smi", "nvidia-ctk", "df", "apt-get", "apt", "apt-cache", "systemctl", "service")
# never this machine's own
HIDDEN = {
    *(*ENGINE, *PROGRAMS, "dockerd", "containerd", "runc", "ctr", "nvidia-container-runtime-hook", "sudo", "su"),
    *("reboot", "shutdown", "poweroff", "halt", "mount", "umount", "dpkg", "init", "telinit", "podman", "snap"),
}
SUDO = '#!/bin/sh\nwhile [ $# -gt 0 ]; do case $1 in -*) shift ;; *) break ;; esac; done\nexec "$@"\n'
DPKG = '#!/bin/sh\n[ "$1" = --print-architecture ] && exec echo amd64\nexit 1\n'


def plant(machine: Path, missing: Collection[str] = ()) -> Path:
    """Makes bin/, the machine's whole PATH, and missing/, what an install would put there."""
    bin, absent = machine / "bin", machine / "missing"
    bin.mkdir()
    absent.mkdir()
    seen = set(HIDDEN)
    for folder in FOLDERS:
        if not Path(folder).is_dir():
            continue
        for entry in os.scandir(folder):
            if entry.name not in seen:
                seen.add(entry.name)
                (bin / entry.name).symlink_to(entry.path)
    for name in (*ENGINE, *PROGRAMS):
        write((absent if name in missing else bin) / name, stand_in(machine, name))
    write(bin / "sudo", SUDO)
    write(bin / "dpkg", DPKG)
    return bin


def stand_in(machine: Path, name: str) -> str:
    """A script that runs this project's module of the program."""
    module = f"fleet.simulators.hyperbolic.inside.{'engine' if name in ENGINE else 'programs'}"
    start = f"PYTHONPATH={shlex.quote(str(ROOT))} PYTHONSAFEPATH=1 PYTHONDONTWRITEBYTECODE=1 exec"
    return f'#!/bin/sh\n{start} {shlex.quote(sys.executable)} -m {module} {shlex.quote(str(machine))} {name} "$@"\n'


def write(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)
