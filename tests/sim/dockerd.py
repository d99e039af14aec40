"""A Docker Engine of the tests' own, beside whatever runs on the machine already."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from images import system

PATIENCE = 60.0  # seconds for the engine to answer
BRIDGE = Path("/sys/class/net/docker0")


@contextmanager
def running_dockerd(folder: Path, program: str | None = None) -> Iterator[str]:
    """A dockerd with all its state under `folder`; yields its `unix://` address, and ends it, by its pid, afterwards.

    It has no bridge of its own: the machine's may belong to another engine, and rules of iptables outlive tests.
    Containers reach the network with `network="host"`. Needs root. Raises RuntimeError with the log's end.
    """
    socket = folder / "docker.sock"
    # One engine that serves a socket path longer than 107 bytes is none (unix(7), sun_path).
    if len(str(socket)) > 107:
        raise RuntimeError(f"too long for a socket: {socket}")
    command = [
        program or system.find("dockerd") or "dockerd",
        f"--host=unix://{socket}",
        f"--data-root={folder / 'data'}",
        f"--exec-root={folder / 'exec'}",
        f"--pidfile={folder / 'pid'}",
        "--bridge=none",
        "--iptables=false",
        "--ip6tables=false",
    ]
    with (folder / "dockerd.log").open("wb") as log:
        engine = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        try:
            wait_for(engine, socket, folder / "dockerd.log")
            yield f"unix://{socket}"
        finally:
            engine.terminate()
            try:
                engine.wait(30)
            except subprocess.TimeoutExpired:
                engine.kill()
                engine.wait(10)


def wait_for(engine: subprocess.Popen[bytes], socket: Path, log: Path) -> None:
    """Returns once the engine answers."""
    import docker
    import requests

    until = time.monotonic() + PATIENCE
    while time.monotonic() < until and engine.poll() is None:
        try:
            client = docker.DockerClient(base_url=f"unix://{socket}", version="auto", timeout=5)
            client.ping()
            client.close()
            return
        except (docker.errors.DockerException, requests.RequestException):
            time.sleep(0.1)
    end = log.read_text(errors="replace").splitlines()[-5:]
    raise RuntimeError("dockerd did not start: " + " | ".join(end))
