"""The environment inside a pod (providers.md 1.12, 1.13): its own, what is injected, and secrets by reference."""

from __future__ import annotations

import re
from typing import Any

from fleet.simulators.machine import Machine
from fleet.simulators.runpod.account import Account

SECRET = re.compile(r"\{\{\s*RUNPOD_SECRET_(\w+)\s*\}\}")
WRONG_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA of-nobody"


def injected_at_create(account: Account, plan: dict[str, Any]) -> None:
    """PUBLIC_KEY by startSsh (where keys are registered), JUPYTER_PASSWORD by startJupyter; own values are kept."""
    env = plan["env"] = dict(plan["env"])
    if plan["startSsh"] and account.own_keys():
        env.setdefault("PUBLIC_KEY", account.own_keys())
    if plan["startJupyter"]:
        env.setdefault("JUPYTER_PASSWORD", account.new_id(20))


def environment(account: Account, machine: Machine) -> dict[str, str]:
    """What the pod's process sees."""
    facts = machine.facts
    env = {name: SECRET.sub(lambda found: _secret(account, found), value) for name, value in facts["env"].items()}
    if "ssh_wrong_key" in machine.quirks and "PUBLIC_KEY" in env:
        env["PUBLIC_KEY"] = WRONG_KEY
    gpu, cpu = facts.get("gpu"), facts.get("cpu")
    own = {
        "RUNPOD_POD_ID": machine.id,
        "RUNPOD_DC_ID": facts["centre"],
        "RUNPOD_POD_HOSTNAME": f"{machine.id}-simulated",
        "RUNPOD_GPU_COUNT": str(gpu["count"] if gpu else 0),
        "RUNPOD_CPU_COUNT": str(cpu["vcpuCount"] if cpu else 16),
        "RUNPOD_PUBLIC_IP": "127.0.0.1",
        "RUNPOD_API_KEY": facts["key"],
        "RUNPOD_API_BASE_URL": account.url,
        "STOKER_RUNPOD_URL": account.url,
    }
    for mount in facts["mounts"].get("network", []):
        own["RUNPOD_VOLUME_ID"] = mount["volumeId"]
    return {**own, **env}


def _secret(account: Account, found: re.Match[str]) -> str:
    """An unknown name stays as it stands (invented)."""
    known = account.secrets.get(found.group(1))
    return found.group(0) if known is None else known["value"]
