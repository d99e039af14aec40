"""PATCH of a pod (providers.md 1.9): present fields replace, and a running pod is reset by it."""

from __future__ import annotations

from typing import Any

from fleet.simulators.machine import Machine
from fleet.simulators.runpod import bodies, words
from fleet.simulators.runpod.account import Account
from fleet.simulators.runpod.life import Lives
from fleet.simulators.runpod.plan import COPIED
from fleet.simulators.runpod.problems import Refused, invalid
from fleet.simulators.runpod.shown import shown
from fleet.simulators.wire import Reply, Request

RESETTING = ("image", "args", "disk", "ports", "env", "registry", "mounts")


def edit(account: Account, lives: Lives, pod: Machine, request: Request) -> Reply:
    """The edited pod. Raises Refused."""
    body = bodies.read(request, bodies.update_pod(account.newer()))
    words.settle(body)
    if "mounts" in body:
        body["mounts"] = _mounts(pod.facts["mounts"], body["mounts"])
    template_id = body.pop("templateId", "")
    if template_id:
        _apply(account, body, template_id)
    if body.get("registry") is not None and body["registry"] not in account.registries:
        raise Refused(400, "registry not found (wording invented)")
    resets = any(name in body for name in RESETTING)
    if resets and pod.facts["locked"]:
        raise Refused(409, "pod is locked (wording invented)")
    pod.facts["locked"] = body.pop("locked", pod.facts["locked"])
    pod.facts["networking"] = body.pop("globalNetworking", pod.facts["networking"])
    pod.facts.update(body)
    lives.price(pod)
    if resets and pod.state == "RUNNING":
        lives.restart(pod)
    return Reply(200, shown(account, pod))


def _mounts(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """Only the path may change."""
    same = set(old) == set(new) and new.get("network") != []
    if same and "network" in new:
        same = old["network"][0]["volumeId"] == new["network"][0]["volumeId"]
    if same and "persistent" in new:
        same = new["persistent"]["size"] >= old["persistent"]["size"]  # a volume disk grows only (1.12)
    if not same:
        raise Refused(400, "mounts: only the path may change (wording invented)")
    return new


def _apply(account: Account, body: dict[str, Any], template_id: str) -> None:
    """The template's settings, once; its mounts are left out, and env becomes template and body together."""
    template = account.template(template_id)
    if template["serverless"]:
        raise invalid(["$.templateId: serverless template (wording invented)"])
    for name in COPIED:
        body.setdefault(name, template[name])
    body["env"] = {**template["env"], **body.get("env", {})}
