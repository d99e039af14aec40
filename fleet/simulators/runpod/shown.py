"""How a pod looks from outside (providers.md 1.8, 1.10)."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from fleet.simulators.clock import SECOND
from fleet.simulators.machine import Machine
from fleet.simulators.runpod import words
from fleet.simulators.runpod.account import Account
from fleet.simulators.runpod.catalogue import GPUS

ACTIONS = {
    "PROVISIONING": ["stop", "terminate"],
    "STARTING": ["stop", "terminate"],
    "RUNNING": ["stop", "restart", "terminate"],
    "EXITED": ["start", "terminate"],
    "ERROR": ["start", "terminate"],
    "TERMINATED": [],
}
HIDDEN_PORT = 1  # nobody listens there: a refused connection


def actions(account: Account, pod: Machine) -> list[str]:
    """What may be done now; by a knob, the spec's own example for a new pod."""
    if pod.state == "PROVISIONING" and account.world.faults.take("actions_of_spec_example") is not None:
        return ["start", "terminate"]
    return ACTIONS[pod.state]


def shown(account: Account, pod: Machine) -> dict[str, Any]:
    """The pod object of an answer, as far as the knobs let it be seen."""
    facts, faults, running = pod.facts, account.world.faults, pod.state == "RUNNING"
    row: dict[str, Any] = {
        "id": pod.id,
        "name": facts["name"],
        "image": facts["image"],
        "args": facts["args"],
        "disk": facts["disk"],
        "ports": facts["ports"],
        "env": facts["env"],
        "registry": facts["registry"],
        "status": pod.state,
        "actions": actions(account, pod),
        "mounts": facts["mounts"],
        "cloud": facts["cloud"],
        "dataCenterId": facts["centre"] if facts["placed"] else None,
        "cudaVersion": facts["cuda"] if facts["placed"] else None,
        "ssh": _ssh(account, pod) if running else {"proxy": None, "direct": None},
        "template": facts["template"],
        "cost": float(_cost(pod)),
        "locked": facts["locked"],
        "globalNetworking": _networking(pod),
        "runtime": _runtime(account, pod) if running else None,
        "createdAt": account.stamp(pod.made),
        "startedAt": account.stamp(facts["started"]),
    }
    row |= _compute(account, facts)
    if account.newer():
        row |= words.shown(facts["args"])
    for knob, name in (("status.missing", "status"), ("price.missing", "cost"), ("cost_missing", "cost")):
        if faults.take(knob) is not None:
            row.pop(name, None)
    if faults.take("price.string") is not None and "cost" in row:
        row["cost"] = str(row["cost"])
    for knob in ("status.unknown_value", "status_misread"):
        if (odd := faults.take(knob)) is not None:
            row["status"] = odd.get("value", "DEGRADED")
    return row


def _cost(pod: Machine) -> Decimal:
    """USD per hour of the compute: the examples' cost holds no disk."""
    return pod.facts["price"] if pod.state in ("PROVISIONING", "STARTING", "RUNNING") else Decimal(0)


def _compute(account: Account, facts: dict[str, Any]) -> dict[str, Any]:
    if facts.get("cpu"):
        return {"cpu": facts["cpu"]}
    gpu = facts["gpu"]
    row: dict[str, Any] = {"id": gpu["id"], "count": gpu["count"]}
    if account.newer() and facts["placed"]:
        kind = GPUS[gpu["id"]]
        row |= {"vcpuCount": kind.vcpus * gpu["count"], "memory": kind.ram * gpu["count"]}
    return {"gpu": row}


def _networking(pod: Machine) -> dict[str, Any]:
    if not pod.facts["networking"]:
        return {"enabled": False}
    return {"enabled": True, "ip": "10.0.0.2", "internalDns": f"{pod.id}.runpod.internal"}


def _ssh(account: Account, pod: Machine) -> dict[str, Any]:
    user = f"{pod.id}-{pod.facts['user']}"
    host = "ssh.runpod.io"
    proxy = {"host": host, "port": 22, "username": user, "command": f"ssh {user}@{host}"}
    found = _reached(account, pod, 22) if "22/tcp" in pod.facts["ports"] else None
    if pod.facts["ready"] is None or "running_no_ssh" in pod.quirks or found is None:
        return {"proxy": proxy, "direct": None}
    host, port = found
    return {
        "proxy": proxy,
        "direct": {"host": host, "port": port, "username": "root", "command": f"ssh root@{host} -p {port}"},
    }


def _runtime(account: Account, pod: Machine) -> dict[str, Any] | None:
    ready, gpu = pod.facts["ready"], pod.facts.get("gpu")
    if "uptime_zero_forever" in pod.quirks:
        return {"uptime": 0, "gpus": [], "ports": []}
    if ready is None:
        return {} if account.world.faults.take("runtime_empty_object") is not None else None
    ports = []
    for text in pod.facts["ports"]:
        number, _, kind = text.partition("/")
        found = _reached(account, pod, int(number)) if kind == "tcp" and "running_no_ssh" not in pod.quirks else None
        public = {"public": found[1], "ip": found[0]} if found else {"public": None, "ip": None}
        ports.append({"private": int(number), "type": kind, **public})
    busy = [{"util": 97, "memoryUtil": 80} for _ in range(gpu["count"])] if gpu else []
    uptime = (account.world.now - pod.facts["started"]) // SECOND
    return {"uptime": uptime, "gpus": busy, "cpu": {"util": 3}, "memory": {"util": 5}, "ports": ports}


def _reached(account: Account, pod: Machine, port: int) -> tuple[str, int] | None:
    if "ssh_refused" in pod.quirks:
        return "127.0.0.1", HIDDEN_PORT
    found = pod.body.port(port) if pod.body is not None else None
    if found is None and port == 22 and not account.world.bodies.real:
        return "127.0.0.1", account.world.banner.port()
    return found
