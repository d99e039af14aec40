"""Run inside a network namespace that has only loopback: RunPod's own MCP server against the simulated RunPod.

`python mcp_session.py SERVER.mjs HOME` prints one JSON object: what each tool answered, the simulator's request log,
the truth, and whether anything but loopback could be reached.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from fleet.simulators.bodies.nothing import NoBodies
from fleet.simulators.clock import VirtualClock
from fleet.simulators.runpod.site import open_site
from fleet.simulators.server import running

SIOCSIFFLAGS, UP = 0x8914, 1  # linux/sockios.h, linux/if.h
RTX = "NVIDIA GeForce RTX 4090"
POD = {
    "name": "probe", "image": "img:1", "gpu": {"id": RTX, "count": 2}, "cloud": "SECURE", "disk": 20, "env": {"K": "v"},
    "ports": ["22/tcp"], "dataCenterIds": ["US-KS-2"],
}  # fmt: skip


def loopback_up() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sH22x", b"lo", UP))


def alone() -> bool:
    """Whether there is no way out of here."""
    try:
        socket.create_connection(("192.0.2.1", 443), timeout=2).close()  # RFC 5737: nobody's
    except OSError as failure:
        return "unreachable" in str(failure)
    return False


class Server:
    """The official server, spoken to over its standard input and output."""

    def __init__(self, script: str, home: str, url: str) -> None:
        env = {
            "PATH": os.environ["PATH"], "HOME": home, "CI": "1",
            "RUNPOD_API_BASE_URL": url, "RUNPOD_API_KEY": "dummy",
        }  # fmt: skip
        self.process = subprocess.Popen(
            ["node", script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=env,
        )
        self.number = 0
        self.answers: list[dict[str, Any]] = []

    def call(self, method: str, params: dict[str, Any]) -> Any:
        self.number += 1
        self.send({"jsonrpc": "2.0", "id": self.number, "method": method, "params": params})
        assert self.process.stdout
        while True:
            answer = json.loads(self.process.stdout.readline())
            if answer.get("id") == self.number:
                return answer

    def send(self, message: dict[str, Any]) -> None:
        assert self.process.stdin
        self.process.stdin.write(json.dumps(message) + "\n")
        self.process.stdin.flush()

    def begin(self) -> None:
        client = {"name": "contract", "version": "0"}
        self.call("initialize", {"protocolVersion": "2025-03-26", "capabilities": {}, "clientInfo": client})
        self.send({"jsonrpc": "2.0", "method": "notifications/initialized", "params": {}})

    def tool(self, name: str, **arguments: Any) -> Any:
        """What the tool answered, as JSON where it is."""
        result = self.call("tools/call", {"name": name, "arguments": arguments})["result"]
        text = result["content"][0]["text"]
        self.answers.append({"tool": name, "error": bool(result.get("isError")), "text": text})
        try:
            return json.loads(text)
        except ValueError:
            return text


def session(server: Server, clock: VirtualClock) -> None:
    """The calls of providers.md 5, in order."""
    server.begin()
    server.tool("list-templates")
    template = server.tool("create-template", body={"name": "train", "image": "img:1", "ports": ["22/tcp"]})
    server.tool("list-gpu-types", include=["AVAILABILITY"], product=["POD"])
    server.tool("get-gpu-type", id=RTX)
    pod = server.tool("create-pod", body=POD)
    server.tool("create-pod", body={**POD, "gpu": {"id": RTX}})
    clock.advance(60)
    server.tool("list-pods")
    server.tool("get-pod", id=pod["id"])
    for action in ("stop", "start"):
        server.tool("pod-action", id=pod["id"], body={"action": action})
    clock.advance(60)
    server.tool("stream-pod-logs", podId=pod["id"], source="system", tail=5, maxWaitMs=1500)
    server.tool("create-registry", body={"name": "r", "username": "u", "password": "planted"})
    server.tool("create-network-volume", body={"name": "v", "size": 10, "dataCenter": "US-KS-2"})
    server.tool("list-billing")
    server.tool("delete-pod", id=pod["id"])
    server.tool("delete-template", id=template["id"])


def main(script: str, home: str) -> None:
    loopback_up()
    clock = VirtualClock()
    site = open_site(clock, NoBodies())
    with running([site]) as urls:
        server = Server(script, home, urls["runpod"])
        try:
            session(server, clock)
        finally:
            server.process.kill()
            server.process.wait()
        print(json.dumps({
            "alone": alone(), "answers": server.answers, "requests": site.log.shown(), "crashes": site.crashes,
            "violations": dict(site.log.violations), "living": len(site.world.living), "made": len(site.world.machines),
        }))  # fmt: skip


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
