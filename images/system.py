"""Programs of the operating system that a task needs: found, installed when root on Debian or Ubuntu, or named."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from images.progress import Progress
from profiles.errors import OutsideFailed

# program -> Debian package
PACKAGES = {
    "mmdebstrap": "mmdebstrap",
    "dockerd": "docker.io",
    "docker": "docker.io",
    "docker-registry": "docker-registry",
    "git": "git",
    # what only the tests use
    "skopeo": "skopeo",
    "umoci": "umoci",
    "buildah": "buildah",
    "shellcheck": "shellcheck",
    "ssh-keygen": "openssh-client",
    "sshd": "openssh-server",
    "busybox": "busybox-static",
    "cc": "gcc",
    "npm": "npm",
}


def is_debian() -> bool:
    """Whether apt-get installs here."""
    return shutil.which("apt-get") is not None and Path("/etc/debian_version").exists()


def find(program: str) -> str | None:
    """The path of `program`, sbin folders included: a user's PATH often lacks them."""
    return shutil.which(program) or shutil.which(program, path="/usr/sbin:/sbin:/usr/local/sbin")


def need(program: str, progress: Progress) -> str:
    """The path of `program`, installing its Debian package first when that is possible.

    Raises OutsideFailed with the command to run when it is not.
    """
    if found := find(program):
        return found
    package = PACKAGES[program]
    if not is_debian():
        raise OutsideFailed(f"{program} is not installed", f"install the package that holds {program}, then try again")
    if os.geteuid() != 0:
        raise OutsideFailed(f"{program} is not installed", f"sudo apt-get install {package}")
    install([package], progress)
    if found := find(program):
        return found
    raise OutsideFailed(f"{package} was installed, but there is no {program}", f"apt-get install --reinstall {package}")


def install(packages: list[str], progress: Progress) -> None:
    """apt-get install, as root. Raises OutsideFailed with apt's last line."""
    progress.say(f"installing {' '.join(packages)} (apt-get)")
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    update = ["apt-get", "update", "-qq"]
    command = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages]
    for step in (update, command):
        done = subprocess.run(step, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if done.returncode:
            last = (done.stderr or done.stdout).strip().splitlines()[-1:] or ["no message"]
            raise OutsideFailed(f"`{' '.join(step)}` failed: {last[0]}", "run it by hand to see more")
