"""pip as our resolver and downloader, run for the image's Python and platform instead of this machine's."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from images.progress import Progress
from profiles.errors import OutsideFailed, WrongInput

MACHINES = {"linux/amd64": "x86_64", "linux/arm64": "aarch64"}
NOT_FOUND = re.compile(r"(?:No matching distribution found for|satisfies the requirement) ([A-Za-z0-9._-]+)")


@dataclass(frozen=True, slots=True)
class Target:
    """The interpreter inside the image: `python` is its minor version ('3.12'), `platform` 'linux/amd64'."""

    python: str
    platform: str
    glibc: int = 35  # minor: 2.35 is Ubuntu 22.04's, the oldest of the NGC tags we know; Debian 12 has 2.36

    def flags(self) -> list[str]:
        """pip's options for this target; pip then takes wheels only."""
        tag = "cp" + self.python.replace(".", "")
        machine = MACHINES[self.platform]
        flags = ["--python-version", self.python, "--implementation", "cp", "--only-binary=:all:"]
        for abi in (tag, "abi3", "none"):
            flags += ["--abi", abi]
        # pip does not widen manylinux_2_28 to older tags by itself, so each accepted one is named (PEP 600).
        for minor in range(self.glibc, 16, -1):
            flags += ["--platform", f"manylinux_2_{minor}_{machine}"]
        return [*flags, "--platform", f"manylinux2014_{machine}", "--platform", f"linux_{machine}"]


class NoWheel(Exception):
    """pip found no wheel of `name` for the target: it may be published as source only."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


def run(arguments: list[str], *, env: Mapping[str, str] | None = None, timeout: float = 3600) -> None:
    """Run this interpreter's pip. Raises NoWheel, WrongInput (the requirements conflict) or OutsideFailed."""
    command = [sys.executable, "-m", "pip", *arguments, "--disable-pip-version-check", "--no-input"]
    # PIP_CONSTRAINT and friends of the caller's shell must not decide what goes into an image.
    mine = {k: v for k, v in os.environ.items() if k not in ("PIP_CONSTRAINT", "PIP_REQUIRE_VIRTUALENV", "PYTHONPATH")}
    mine.update(env or {})
    try:
        done = subprocess.run(
            command, env=mine, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout
        )
    except subprocess.TimeoutExpired:
        raise OutsideFailed("pip did not end within an hour", "check the package index, then try again") from None
    if done.returncode == 0:
        return
    errors = [line.removeprefix("ERROR: ") for line in done.stderr.splitlines() if line.startswith("ERROR")]
    said = " ".join(errors)
    if "ResolutionImpossible" in said or "conflicting dependencies" in said:
        told = (done.stdout + done.stderr).splitlines()
        causes = [line.strip() for line in told if " depends on " in line or "The user requested" in line]
        conflict = "; ".join(dict.fromkeys(causes)) or errors[0]
        raise WrongInput(f"the Python requirements conflict: {conflict}", "change python.requirements in the profile")
    if found := NOT_FOUND.search(said):
        raise NoWheel(found.group(1))
    if "No space left" in done.stderr:
        raise OutsideFailed("the disk is full", "free some space (`./inv prune`), then run the same command again")
    last = errors[-1:] or done.stderr.strip().splitlines()[-1:] or ["no message"]
    raise OutsideFailed(f"pip failed: {last[0][:300]}", "check the network and the package index, then try again")


def index_attempts(indexes: tuple[str, ...]) -> list[list[str]]:
    """Index options in the order to try: the machine's own configuration first, then with the profile's indexes.

    Own first, because behind a company mirror the public index is slow to fail; exact pins and hashes make the
    order harmless.
    """
    extra = [part for url in indexes for part in ("--extra-index-url", url)]
    return [[], [*extra, "--retries", "1"]] if extra else [[]]


@dataclass(frozen=True, slots=True)
class Built:
    """A wheel built from a source distribution. sdist_sha256: 64 hex digits."""

    wheel: Path
    sdist: str  # file name
    sdist_sha256: str


def build_wheel(name: str, requirement: str, folder: Path, progress: Progress) -> Built:
    """Build the wheel of a source-only package in `folder`.

    DeepSpeed's ops are left to compile on the GPU host: no compiler, CUDA or torch is needed here.
    Raises WrongInput: no such package, or its wheel fits this machine only; OutsideFailed.
    """
    progress.say(f"{name} has no wheel: building one from its source distribution")
    # A fixed hash seed: DeepSpeed writes its extras from a set, in another order at each run.
    env = {"DS_BUILD_OPS": "0", "SOURCE_DATE_EPOCH": "315532800", "PYTHONHASHSEED": "0", "LC_ALL": "C.UTF-8"}
    source, target = folder / "sdist", folder / "wheel"
    try:
        run(["download", "--quiet", "--no-deps", "--no-binary", name, "--dest", str(source), requirement], env=env)
    except NoWheel:
        raise WrongInput(f"no package {requirement} on the index", "check python.requirements in the profile") from None
    sdist = next(source.iterdir())
    digest = hashlib.sha256(sdist.read_bytes()).hexdigest()
    run(["wheel", "--quiet", "--no-deps", "--wheel-dir", str(target), str(sdist)], env=env)
    wheel = next(target.glob("*.whl"))
    if not wheel.name.endswith("-none-any.whl"):
        raise WrongInput(
            f"{name} builds a wheel for this machine only ({wheel.name})", "use a release with wheels, or a foundation"
        )
    return Built(wheel, sdist.name, digest)
