"""Make .venv from a lock file. Runs under any Python >= 3.11 with nothing installed; called by ./inv."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
VENV = HERE.parent / ".venv"
TORCH_INDEX = "https://download.pytorch.org/whl/cpu"


def fail(what: str, next_step: str) -> None:
    print(f"error: {what}\n  next: {next_step}", file=sys.stderr)
    raise SystemExit(3)


def install_venv_package() -> None:
    """Debian and Ubuntu split `venv` from Python; its absence shows as a missing ensurepip."""
    package = f"python{sys.version_info.major}.{sys.version_info.minor}-venv"
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        fail("this Python cannot make a virtual environment (no ensurepip)", f"sudo apt-get install {package}")
    print(f"installing {package}", file=sys.stderr)
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["apt-get", "update", "-qq"], ["apt-get", "install", "-y", "-qq", package]):
        if subprocess.run(command, env=env, stdout=sys.stderr).returncode:
            fail(f"`{' '.join(command)}` failed", f"install {package} by hand, then run the command again")


def install(python: Path, locked: Path, *options: str, last: bool = True) -> bool:
    """pip install with hashes required. Exits when `last` and it fails.

    Without --no-deps pip would ask for a hash of torch, which DeepSpeed needs and which comes from a lock of its own.
    """
    print(f"installing requirements/{locked.name}", file=sys.stderr)
    command = [python, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-deps"]
    command += ["--require-hashes", "-r", locked]
    done = subprocess.run([*command, *options], stdout=sys.stderr, stderr=None if last else subprocess.DEVNULL)
    if done.returncode and last:
        fail(f"pip could not install requirements/{locked.name}", "check the network, then run the same command again")
    return done.returncode == 0


def install_torch(python: Path) -> None:
    """PyTorch's CPU build, for the trainer's tests: from the configured indexes if they have it, else PyTorch's own."""
    if sys.version_info[:2] == (3, 11):
        locked = HERE / "trainer.lock"
        install(python, locked, last=False) or install(python, locked, "--extra-index-url", TORCH_INDEX)
        return
    # The lock holds the hashes of the image's Python, 3.11; another one takes the same version by name.
    command = [python, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--extra-index-url", TORCH_INDEX]
    command += ["torch==2.13.0+cpu", "numpy>=2", "safetensors", "pyyaml"]
    if subprocess.run(command, stdout=sys.stderr).returncode:
        fail("pip could not install PyTorch's CPU build", f"check that {TORCH_INDEX} is reachable")


def make(lock: str) -> None:
    locked = HERE / f"{lock}.lock"
    python = VENV / "bin" / "python"
    if python.exists() and subprocess.run([python, "-c", "import pip"], capture_output=True).returncode:
        shutil.rmtree(VENV)  # a bootstrap that was killed half way, or a Python that was uninstalled
    if not python.exists():
        try:
            import ensurepip  # noqa: F401
        except ImportError:
            install_venv_package()
        print("making .venv (once)", file=sys.stderr)
        if subprocess.run([sys.executable, "-m", "venv", "--clear", str(VENV)], stdout=sys.stderr).returncode:
            fail("could not make .venv", "read the message above; remove .venv and try again")
    install(python, locked)
    if lock == "dev":
        install_torch(python)
    inv = VENV / "bin" / "inv"  # inside the venv, `inv` is this project's entrance too
    inv.unlink(missing_ok=True)
    inv.write_text(f'#!/bin/sh\nexec "{python}" "{HERE.parent / "cli" / "program.py"}" "$@"\n')
    inv.chmod(0o755)
    if lock == "dev":  # the dev lock holds everything the plain one does
        shutil.copy(HERE / "stoker.lock", VENV / "stoker.lock")
    # Last of all: a bootstrap that dies before is made again.
    shutil.copy(locked, VENV / locked.name)


if __name__ == "__main__":
    with (HERE.parent / ".venv.lock").open("w") as guard:  # two first runs at once: the second waits
        fcntl.flock(guard, fcntl.LOCK_EX)
        make(sys.argv[1])
