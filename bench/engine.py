"""Docker for comparison: an engine of the benchmark's own, and building with whatever BuildKit client is there."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.measure import Sample, measure, version_of
from tests.sim.dockerd import running_dockerd


@dataclass(frozen=True)
class Docker:
    """path: the PATH to find docker, dockerd and containerd on; buildx: its version, None for Docker's own client."""

    path: str
    docker: str
    dockerd: str
    buildx: str | None

    @property
    def words(self) -> str:
        return "docker buildx build --push" if self.buildx else "DOCKER_BUILDKIT=1 docker build && docker push"

    @contextmanager
    def engine(self, folder: Path) -> Iterator[dict[str, str]]:
        """A fresh, empty engine; yields the environment that reaches it. Its data is deleted afterwards."""
        folder.mkdir(parents=True)
        before = os.environ["PATH"]
        os.environ["PATH"] = self.path  # dockerd starts the containerd that it finds there
        try:
            with running_dockerd(folder, self.dockerd) as address:
                yield {**os.environ, "DOCKER_HOST": address, "DOCKER_BUILDKIT": "1"}
        finally:
            os.environ["PATH"] = before
            subprocess.run(["rm", "-rf", str(folder)], check=False)

    def build_and_push(self, context: Path, tag: str, env: dict[str, str]) -> Sample:
        """What somebody with Docker runs. Attestations are off, as in our own BuildKit builder."""
        if self.buildx:
            line = [self.docker, "buildx", "build", "--push", "--provenance=false", f"--tag={tag}", str(context)]
            return measure(line, env=env)
        both = f'"{self.docker}" build --tag="$1" "$2" && "{self.docker}" push "$1"'
        return measure(["sh", "-c", both, "sh", tag, str(context)], env=env)

    def run(self, tag: str, env: dict[str, str], *command: str) -> str:
        """Standard output of a command in a container of the image."""
        line = [self.docker, "run", "--rm", "--network=none", "--entrypoint", command[0], tag, *command[1:]]
        return subprocess.run(line, env=env, check=True, capture_output=True, text=True).stdout


def find(folder: str) -> Docker | None:
    """Docker's programs in `folder` (and beside it), else on PATH; None when there is no client or no engine."""
    sbin = "/usr/sbin:/usr/local/sbin:/sbin"
    path = os.pathsep.join(part for part in (folder, os.environ.get("PATH", ""), sbin) if part)
    dockerd = shutil.which("dockerd", path=path)
    clients = [found for part in path.split(os.pathsep) if part and (found := shutil.which("docker", path=part))]
    if dockerd is None or not clients or os.geteuid() != 0:
        return None
    for docker in clients:
        if plugin := version_of(docker, "buildx", "version"):
            return Docker(path, docker, dockerd, plugin)
    for docker in clients:
        # From 23.0 on the BuildKit client is the plugin; without it `docker build` is the old builder.
        version = version_of(docker, "version", "--format", "{{.Client.Version}}") or client_version(docker)
        if version and int(version.split(".")[0]) < 23:
            return Docker(path, docker, dockerd, None)
    return None


def client_version(docker: str) -> str | None:
    """The client's own version, which needs no engine."""
    line = version_of(docker, "--version")
    return line.split("version ")[1].split(",")[0] if line and "version " in line else None
