"""RunPod's own client against the simulated RunPod: python -m tests.fleet.simulators.runpod_mcp_scene SCENE NODE SERVER

Run in a network namespace without a way out. Prints one JSON document: what each tool was asked and said, every request
that reached the simulator with its answer, and the simulator's books.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from fleet.simulators.admin import answer_admin
from fleet.simulators.bodies.nothing import NoBodies
from fleet.simulators.clock import VirtualClock
from fleet.simulators.runpod.site import open_site
from fleet.simulators.server import running
from fleet.simulators.site import Site
from fleet.simulators.wire import Reply, Request
from tests.fleet.simulators import loopback
from tests.fleet.simulators.runpod_mcp import Client

IMAGE = "registry.example/team/train:7"
RTX, H100 = "NVIDIA GeForce RTX 4090", "NVIDIA H100 80GB HBM3"


class Recorded:
    """A site whose every exchange is written down, as it went over the wire."""

    def __init__(self, site: Site) -> None:
        self.site, self._answer = site, site.answer
        self.exchanges: list[dict[str, Any]] = []
        site.answer = self.answer

    def answer(self, method: str, target: str, headers: dict[str, str], body: bytes) -> Reply:
        reply = self._answer(method, target, headers, body)
        path, _, query = target.partition("?")
        content = reply.bytes()
        kind = reply.headers.get("Content-Type", "application/json" if content else "")
        self.exchanges.append(
            {
                "method": method,
                "target": path,
                "query": dict(parse_qsl(query, keep_blank_values=True)),
                "agent": headers.get("user-agent", ""),
                "bearer": headers.get("authorization", ""),
                "sent": json.loads(body) if body else None,
                "status": 0 if reply.drop else reply.status,
                "kind": kind,
                "answered": json.loads(content) if content and "json" in kind else None,
                "bytes": len(content),
            }
        )
        return reply

    def books(self) -> Any:
        """/_sim/rentals, and what the request log counted against the specification."""
        rentals = answer_admin(self.site, Request("GET", "/_sim/rentals"))
        return {"rentals": rentals.body, "violations": dict(self.site.log.violations), "crashes": self.site.crashes}


class Scene:
    """The client, and what it did so far."""

    def __init__(self, client: Client, recorded: Recorded, clock: VirtualClock) -> None:
        self.client, self.recorded, self.clock = client, recorded, clock
        self.calls: list[dict[str, Any]] = []

    def call(self, tool: str, /, **arguments: Any) -> Any:
        """A tool's words, noted with how many requests they took."""
        before = len(self.recorded.exchanges)
        answer = self.client.call(tool, **arguments)
        made = list(range(before, len(self.recorded.exchanges)))
        self.calls.append({"tool": tool, "arguments": arguments, "exchanges": made, **answer})
        return answer["said"]

    def faults(self, **knobs: Any) -> None:
        """Knobs with `__` for their point."""
        self.recorded.site.world.faults.set({name.replace("__", "."): table for name, table in knobs.items()})


def pod(name: str, **more: Any) -> dict[str, Any]:
    """A create as providers.md 5 has it."""
    body = {"name": name, "image": IMAGE, "gpu": {"id": RTX, "count": 2}, "cloud": "SECURE", "disk": 20}
    return {**body, "env": {"K": "v"}, "ports": ["22/tcp"], "dataCenterIds": ["US-KS-2"], **more}


def whole_life(scene: Scene) -> None:
    """Everything that a renter does, from looking to proving that nothing bills."""
    call = scene.call
    call("list-templates")
    call("list-gpu-types", include=["AVAILABILITY"], product=["POD"])
    call("get-gpu-type", id=RTX)
    call("get-gpu-type", id=RTX, include=["AVAILABILITY"], product=["POD"])
    call("get-capacity")  # asks GraphQL at the vendor's real host, whatever the variable says
    call("list-data-centers", include=["GPU_AVAILABILITY"])
    call("update-ssh-keys", body={"keys": ["ssh-ed25519 AAAAexample you@example.com"]})
    call("get-ssh-keys")
    registry = call("create-registry", body={"name": "reg-1", "username": "u", "password": "p"})
    volume = call("create-network-volume", body={"name": "ckpt-1", "size": 100, "dataCenter": "US-KS-2"})
    template = call(
        "create-template",
        body={"name": "train-1", "image": IMAGE, "disk": 20, "ports": ["22/tcp"], "env": {"A": "1"},
              "registry": registry["id"], "startJupyter": False},
    )  # fmt: skip
    call("get-template", id=template["id"])
    call("list-templates")
    first = call("create-pod", body=pod("probe"))
    mounts = {"network": [{"volumeId": volume["id"], "path": "/workspace"}]}
    second = call(
        "create-pod",
        body={"name": "from-template", "templateId": template["id"], "gpu": {"id": H100, "count": 1}, "mounts": mounts},
    )
    call("list-pods")
    call("get-pod", id=first["id"])
    scene.clock.advance(60)
    call("get-pod", id=first["id"])
    call("stream-pod-logs", podId=first["id"], source="both", tail=10, maxWaitMs=1000)
    call("update-pod", id=first["id"], body={"name": "probe-renamed"})
    for action in ("restart", "stop", "start"):
        call("pod-action", id=first["id"], body={"action": action})
        scene.clock.advance(60)
    call("delete-template", id=template["id"])  # in use: 400
    scene.clock.advance(7200)
    call("list-billing")
    call("list-pod-billing", bucketSize="hour")
    call("pod-action", id=first["id"], body={"action": "terminate"})
    call("delete-pod", id=second["id"])
    call("get-pod", id=second["id"])  # gone: 404
    call("delete-pod", id=second["id"])
    call("list-pods")
    call("delete-template", id=template["id"])
    call("delete-registry", id=registry["id"])
    call("delete-network-volume", id=volume["id"])
    call("list-network-volumes")
    call("list-registries")


def refusals(scene: Scene) -> None:
    """Creates that a provider refuses, or whose answers are lost."""
    call = scene.call
    call("create-pod", body=pod("without-count", gpu={"id": RTX}))
    scene.faults(capacity_all_400={"count": 1})
    call("create-pod", body=pod("no-capacity"))
    scene.faults(create__429_before={"count": 1})
    call("create-pod", body=pod("busy"))
    scene.faults(create__5xx_after_commit={"count": 1})
    call("create-pod", body=pod("committed-5xx"))
    scene.faults(create__5xx_before_commit={"count": 1})
    call("create-pod", body=pod("refused-5xx"))
    scene.faults(create__drop_after_commit={"count": 1})
    call("create-pod", body=pod("lost-answer"))
    scene.recorded.site.world.credit = 0
    call("create-pod", body=pod("broke"))
    call("list-pods")


def old_variable(scene: Scene) -> None:
    """The 3.x variable is not read: the client wants the vendor's real host, and there is no way to it."""
    scene.call("list-pods")


SCENES: dict[str, tuple[Callable[[Scene], None], str]] = {
    "whole_life": (whole_life, "RUNPOD_API_BASE_URL"),
    "published_form": (whole_life, "RUNPOD_API_BASE_URL"),
    "refusals": (refusals, "RUNPOD_API_BASE_URL"),
    "old_variable": (old_variable, "RUNPOD_REST_V2_API_URL"),
}
AS_PUBLISHED = {"drift_fields_off": True, "pagination_off": True, "secrets_off": True}


def main(name: str, node: str, program: str) -> None:
    """Plays one scene, and prints what happened."""
    interfaces = loopback.begin()
    act, variable = SCENES[name]
    clock = VirtualClock()
    site = open_site(clock, NoBodies())
    recorded = Recorded(site)
    if name == "published_form":
        site.world.faults.set(AS_PUBLISHED)
    with running([site]) as urls, tempfile.TemporaryDirectory() as home:
        client = Client(node, program, Path(home), {variable: urls["runpod"]})
        scene = Scene(client, recorded, clock)
        try:
            act(scene)
        finally:
            client.close()
        told = {"calls": scene.calls, "exchanges": recorded.exchanges, "books": recorded.books()}
    print(json.dumps({"interfaces": interfaces, **told}))


if __name__ == "__main__":
    main(*sys.argv[1:])
