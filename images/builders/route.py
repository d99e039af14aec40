"""Which command line reaches BuildKit here: buildx, or an older `docker` that carries the BuildKit client itself.

The `docker` package has no BuildKit (docker/docker-py#2230), so building goes through a command. Three kinds are met:
a CLI with the buildx plugin; Docker 20.10 to 22 without it, whose own client speaks BuildKit with DOCKER_BUILDKIT=1;
and 23.0 or newer without the plugin, which speaks neither and may still come first on PATH.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from profiles.errors import OutsideFailed

Version = tuple[int, ...]
CLIENT_FROM, CLIENT_BEFORE = (19, 3), (23,)  # 18.09's was experimental; 23.0 moved the client into buildx
LINK_ENGINE, LINK_BUILDKIT = (23,), (0, 10)  # Dockerfile frontend 1.4: `COPY --link` (docs/reference.md)
REWRITE_BUILDKIT = (0, 13)  # `rewrite-timestamp`, moby/buildkit docs/build-repro.md
ATTEST_BUILDX = (0, 10)  # `--provenance`; older versions attest nothing
ALSO = ("/usr/bin", "/usr/local/bin")  # where distributions put it, whatever PATH says


@dataclass(frozen=True, slots=True)
class Route:
    """docker: path of the CLI; buildx: version of the plugin, or None for the CLI's own client; driver: buildx' word
    for where BuildKit runs, `docker` being the engine itself; link: `COPY --link` is known there; rewrite: files' times
    can be clamped to SOURCE_DATE_EPOCH in the output."""

    docker: str
    version: Version
    buildx: Version | None = None
    driver: str = "docker"
    link: bool = False
    rewrite: bool = False

    @property
    def in_engine(self) -> bool:
        """Whether results land in the engine, and its images can be built on by name."""
        return self.driver == "docker"

    @property
    def words(self) -> str:
        """For a line of `doctor` or of the build's progress."""
        how = f"buildx {dotted(self.buildx)}, driver {self.driver}" if self.buildx else "its own BuildKit client"
        return f"{self.docker} {dotted(self.version)} with {how}"


def find(engine: Version, env: Mapping[str, str]) -> Route:
    """The best way to BuildKit for an engine of version `engine`; env: of the commands, PATH and DOCKER_HOST included.

    Raises OutsideFailed with what was found and what to install when there is none.
    """
    seen: list[str] = []
    clients: list[Route] = []
    for docker in candidates(env.get("PATH", "")):
        version = client_version(docker, env)
        if version is None:
            seen.append(f"{docker} (not Docker's)")
            continue
        if plugin := buildx_version(docker, env):
            return with_buildx(docker, version, plugin, engine, env)
        if CLIENT_FROM <= version < CLIENT_BEFORE:
            clients.append(Route(docker, version, link=engine >= LINK_ENGINE))
        seen.append(f"{docker} {dotted(version)} (no buildx)")
    if clients:
        return clients[0]
    found = "found " + ", ".join(seen) if seen else "there is no docker command on PATH"
    raise OutsideFailed(
        f"no way to BuildKit: {found}",
        "install the buildx plugin (Debian 13, Ubuntu: apt-get install docker-buildx; Docker's own repository: "
        "docker-buildx-plugin), or Debian 12's docker.io; profiles without system packages build with --builder append",
    )


def candidates(path: str) -> list[str]:
    """Every different `docker` on PATH and in the usual folders, in that order."""
    found: dict[str, str] = {}
    for folder in (*path.split(os.pathsep), *ALSO):
        docker = Path(folder or ".", "docker")
        if docker.is_file() and os.access(docker, os.X_OK):
            found.setdefault(str(docker.resolve()), str(docker))
    return list(found.values())


def client_version(docker: str, env: Mapping[str, str]) -> Version | None:
    """The CLI's own version; None for what only looks like Docker, such as podman's shim."""
    text = answer([docker, "--version"], env)  # asks no engine, unlike `docker version`
    found = re.match(r"Docker version (\d+(?:\.\d+)+)", text or "")
    return parsed(found[1]) if found else None


def buildx_version(docker: str, env: Mapping[str, str]) -> Version | None:
    text = answer([docker, "buildx", "version"], env)
    found = re.search(r"docker/buildx\s+v?(\d+(?:\.\d+)+)", text or "")
    return parsed(found[1]) if found else None


def with_buildx(docker: str, version: Version, plugin: Version, engine: Version, env: Mapping[str, str]) -> Route:
    """What the builder in use can do. Inside the engine the engine's version decides: it brings BuildKit itself."""
    text = answer([docker, "buildx", "inspect"], env) or ""
    driver = re.search(r"^Driver:\s*(\S+)", text, re.MULTILINE)
    if driver is None or driver[1] == "docker":
        return Route(docker, version, plugin, link=engine >= LINK_ENGINE)
    found = re.search(r"^build ?kit(?: version)?:\s*v?(\d+(?:\.\d+)+)", text, re.MULTILINE | re.IGNORECASE)
    buildkit = parsed(found[1]) if found else None  # not running yet: then it will be a new one
    link = buildkit is None or buildkit >= LINK_BUILDKIT
    rewrite = plugin >= ATTEST_BUILDX and (buildkit is not None and buildkit >= REWRITE_BUILDKIT)
    return Route(docker, version, plugin, driver[1], link, rewrite)


def answer(command: list[str], env: Mapping[str, str]) -> str | None:
    """Standard output of a command that succeeds within 20 s."""
    try:
        done = subprocess.run(
            command, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=20
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def parsed(text: str) -> Version:
    """'20.10.24+dfsg1' -> (20, 10, 24); () when there is no number in front."""
    found = re.match(r"\d+(?:\.\d+)*", text.removeprefix("v"))
    return tuple(int(part) for part in found[0].split(".")) if found else ()


def dotted(version: Version) -> str:
    return ".".join(str(part) for part in version)
