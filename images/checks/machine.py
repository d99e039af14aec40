"""What doctor asks of this machine: Python, git, the state folder, disks, Docker, BuildKit, GPU, Debian packages."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from images import system
from images.checks import drivers
from images.checks.finding import Finding
from images.progress import size

if TYPE_CHECKING:
    from images.builders.engine import Engine

PYTHON = (3, 11)
FULL = 1_000_000_000  # bytes; below it no image is built: the smallest needs its layers and wheels twice
LOW = 30_000_000_000  # bytes; an NGC base is 12 GB packed and 21 GB unpacked
TOOL = "nvidia-ctk", "nvidia-container-runtime", "nvidia-container-cli"
SECONDS = 3.0


def python(root: Path, version: tuple[int, ...] = sys.version_info[:3]) -> Iterator[Finding]:
    """The interpreter and the project's own environment."""
    have = ".".join(map(str, version))
    if version[:2] < PYTHON:
        yield Finding("python", False, f"{have}; 3.11 or newer is needed: apt-get install python3 (Debian 12 or newer)")
    else:
        yield Finding("python", True, f"{have} ({sys.executable})")
    if sys.prefix != sys.base_prefix:
        yield Finding("venv", True, sys.prefix)
    elif (root / ".venv").is_dir():
        yield Finding("venv", True, f"{root / '.venv'} (./inv uses it)")
    else:
        yield Finding("venv", None, "none yet: ./inv makes it")


def git(root: Path) -> Iterator[Finding]:
    """Without git or a commit, tags carry zeros and `-dirty`."""
    version = answer(["git", "--version"])
    if version is None:
        yield Finding("git", None, f"not installed, so tags name no commit: {how_to_get('git')}")
        return
    commit = answer(["git", "-C", str(root), "rev-parse", "--short=12", "HEAD"])
    where = f"commit {commit}" if commit else "this folder is no checkout, so tags name no commit"
    yield Finding("git", True if commit else None, f"{version.removeprefix('git version ')}, {where}")


def answer(command: list[str]) -> str | None:
    """Standard output, stripped; None when the command is missing, fails or hangs."""
    env = {**os.environ, "LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0"}
    try:
        done = subprocess.run(
            command, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SECONDS
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def state(folder: Path) -> Iterator[Finding]:
    """Whether the state folder can be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(b"x" * 4096)
    except OSError as error:
        detail = f"{folder} cannot be written: {error.strerror}; STOKER_HOME may name another folder"
        yield Finding("state folder", False, detail)
    else:
        yield Finding("state folder", True, str(folder))


def disk(folder: Path) -> Iterator[Finding]:
    yield room("disk", folder, shutil.disk_usage(existing(folder)).free)


def existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that is there."""
    return next(path for path in (folder, *folder.parents) if path.exists())


def room(check: str, folder: Path, free: int) -> Finding:
    """free: bytes."""
    said = f"{size(free)} free in {folder}"
    if free < FULL:
        return Finding(check, False, f"{said}: no room to build; ./inv prune")
    if free < LOW:
        return Finding(
            check, None, f"{said}: an NGC base with its images wants {size(LOW)}; ./inv prune, or STOKER_HOME"
        )
    return Finding(check, True, said)


def bootstrap() -> Iterator[Finding]:
    """What bootstraps a Debian base, for profiles like `cpu`."""
    found = system.find("mmdebstrap")
    if found is None:
        detail = f"not installed; the profile cpu is built with it: {how_to_get('mmdebstrap')}"
        yield Finding("mmdebstrap", None, detail)
    else:
        yield Finding("mmdebstrap", True, found)


def how_to_get(program: str) -> str:
    """The command that installs it, or who does."""
    package = system.PACKAGES[program]
    if not system.is_debian():
        return f"install the package that holds {program}"
    if os.geteuid() == 0:
        return f"apt-get install {package} (tasks that need it do so)"
    return f"sudo apt-get install {package}"


def docker(env: Mapping[str, str]) -> Iterator[Finding]:
    """Engine, its disk, BuildKit, and whether containers get GPUs."""
    from images.builders.engine import connect
    from profiles.errors import OutsideFailed

    try:
        engine = connect(env.get("DOCKER_HOST"))
        info: dict[str, Any] = engine.client.info()
    except OutsideFailed as error:
        yield Finding("docker", None, f"{error.what}; only smoke and --builder buildkit need it: {error.next_step}")
        return
    where = f"{engine.version}, {info.get('Driver')}, {info.get('OperatingSystem') or info.get('Name')}"
    yield Finding("docker", True, where)
    if (root := Path(info.get("DockerRootDir") or "/nonexistent")).is_dir() and is_local(engine):
        found = room("docker disk", root, shutil.disk_usage(root).free)
        yield Finding(found.check, found.ok or None, found.detail)  # building by append needs no engine
    try:
        yield Finding("buildkit", True, engine.buildkit_route().words)
    except OutsideFailed as error:
        yield Finding("buildkit", None, f"{error.what}; {error.next_step}")
    yield from container_gpus(info)


def is_local(engine: Engine) -> bool:
    """Whether the engine is spoken to over a socket of this machine."""
    return str(engine.client.api.base_url).startswith(("http+docker", "unix"))


def container_gpus(info: Mapping[str, Any], driver: drivers.HostDriver | None = None) -> Iterator[Finding]:
    """NVIDIA's container toolkit, which only matters where there is a driver."""
    tools = [path for path in map(system.find, TOOL) if path]
    if "nvidia" in (info.get("Runtimes") or {}) or tools:
        yield Finding("container toolkit", True, ", ".join(tools) or "a runtime of the engine")
    elif (driver or drivers.read()).version is not None:
        yield Finding(
            "container toolkit",
            None,
            "not installed, so containers get no GPU: apt-get install nvidia-container-toolkit (NVIDIA's repository)",
        )


def gpu(root: Path = Path("/")) -> Iterator[Finding]:
    """Only smoke of a GPU profile needs one: building does not."""
    found = drivers.read(root)
    if found.version is None:
        yield Finding("gpu", None, "no NVIDIA driver here: GPU profiles can be built and pushed, not smoked")
        return
    counted = {name: found.gpus.count(name) for name in found.gpus}
    names = ", ".join(f"{count} x {name}" for name, count in counted.items()) or "no GPU seen"
    runs = f", CUDA up to {found.cuda}" if found.cuda else ""
    yield Finding("gpu", True if counted else None, f"{names}; driver {found.version}{runs}")


def packages() -> Iterator[Finding]:
    """Programs of Debian packages that the tests and benchmarks use."""
    named = {program: package for program, package in system.PACKAGES.items() if program not in ("git", "mmdebstrap")}
    missing = sorted({package for program, package in named.items() if system.find(program) is None})
    if not missing:
        yield Finding("test programs", True, ", ".join(sorted(set(named.values()))))
        return
    get = f"{'' if os.geteuid() == 0 else 'sudo '}apt-get install {' '.join(missing)}" if system.is_debian() else ""
    yield Finding("test programs", None, f"missing {', '.join(missing)}; only tests and benchmarks need them: {get}")
