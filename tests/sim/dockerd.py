"""A Docker Engine of the tests' own, beside whatever runs on the machine already."""

from __future__ import annotations

import fcntl
import secrets
import socket
import struct
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from images import system

PATIENCE = 60.0  # seconds for the engine to answer
SIOCBRADDBR, SIOCBRDELBR, SIOCSIFFLAGS = 0x89A0, 0x89A1, 0x8914  # linux/sockios.h


@contextmanager
def running_dockerd(folder: Path, program: str | None = None) -> Iterator[str]:
    """A dockerd with all its state under `folder`; yields its `unix://` address, and ends it, by its pid, afterwards.

    It gets a bridge of its own without a way out: sharing docker0 mixes up two engines, `--bridge=none` deletes it,
    whoever's it is, and rules of iptables outlive tests. Containers reach the network with `network="host"`. Needs
    root. Raises RuntimeError with the log's end.
    """
    with own_bridge() as bridge:
        yield from serve(folder, program, bridge)


def serve(folder: Path, program: str | None, bridge: str) -> Iterator[str]:
    """The engine's life. The address it yields is a Unix socket's."""
    listen = folder / "docker.sock"
    if len(str(listen)) > 107:  # unix(7), sun_path
        raise RuntimeError(f"too long for a socket: {listen}")
    command = [
        program or system.find("dockerd") or "dockerd",
        f"--host=unix://{listen}",
        f"--data-root={folder / 'data'}",
        f"--exec-root={folder / 'exec'}",
        f"--pidfile={folder / 'pid'}",
        f"--bridge={bridge}",
        "--iptables=false",
        "--ip6tables=false",
    ]
    with (folder / "dockerd.log").open("wb") as log:
        engine = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        before = veths()
        try:
            wait_for(engine, listen, folder / "dockerd.log")
            yield f"unix://{listen}"
            until = time.monotonic() + 2
            while veths() - before and time.monotonic() < until:
                time.sleep(0.05)  # BuildKit takes a finished step's network down in the background
        finally:
            engine.terminate()
            try:
                engine.wait(30)
            except subprocess.TimeoutExpired:
                engine.kill()
                engine.wait(10)
            unmount(folder)


def unmount(folder: Path) -> None:
    """Takes down what an engine leaves mounted in its folders (the host's network namespace, after `--network host`;
    containers, after SIGKILL), so that they can be removed."""
    points = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    for point in sorted((point for point in points if point.startswith(f"{folder}/")), reverse=True):
        subprocess.run(["umount", "--lazy", point], check=False)


@contextmanager
def own_bridge() -> Iterator[str]:
    """The name of a new bridge, gone after the block; made by ioctl, since iproute2 may be missing."""
    name = f"stk{secrets.token_hex(4)}"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, SIOCBRADDBR, name.encode() + b"\0")
        try:
            yield name
        finally:
            down = struct.pack("16sH22x", name.encode(), 0)  # struct ifreq with no flags: a bridge that is up cannot go
            fcntl.ioctl(control, SIOCSIFFLAGS, down)
            fcntl.ioctl(control, SIOCBRDELBR, name.encode() + b"\0")


def veths() -> set[str]:
    return {path.name for path in Path("/sys/class/net").glob("veth*")}


def wait_for(engine: subprocess.Popen[bytes], listen: Path, log: Path) -> None:
    """Returns once the engine answers."""
    import docker
    import requests

    until = time.monotonic() + PATIENCE
    while time.monotonic() < until and engine.poll() is None:
        try:
            client = docker.DockerClient(base_url=f"unix://{listen}", version="auto", timeout=5)
            client.ping()
            client.close()
            return
        except (docker.errors.DockerException, requests.RequestException):
            time.sleep(0.1)
    end = log.read_text(errors="replace").splitlines()[-5:]
    raise RuntimeError("dockerd did not start: " + " | ".join(end))
