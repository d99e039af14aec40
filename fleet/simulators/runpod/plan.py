"""From a create's body and its template to what the pod will be (providers.md 1.6, 1.7)."""

from __future__ import annotations

from typing import Any

from fleet.simulators.runpod import words
from fleet.simulators.runpod.account import Account
from fleet.simulators.runpod.catalogue import CPUS
from fleet.simulators.runpod.problems import Refused, invalid

MOST_HTTP, MOST_ENV = 10, 50  # the console's limits
DISK = 20  # GB of container disk when nobody says (invented)
COPIED = ("image", "args", "disk", "ports", "registry")


def merged(account: Account, body: dict[str, Any]) -> dict[str, Any]:
    """The body with what the template adds: the body wins field by field, `env` key by key.

    Raises Refused: 404 for an unknown template, 422 for a serverless one, 400 where fields contradict each other.
    """
    words.settle(body)
    if "templateId" in body:
        _add_template(account, body)
    _check_compute(body)
    _check_mounts(body)
    http = sum(port.endswith("/http") for port in body.get("ports", []))
    if http > MOST_HTTP:
        raise Refused(400, "too many http ports (wording invented)")
    if body.get("registry") is not None and body["registry"] not in account.registries:
        raise Refused(400, "registry not found (wording invented)")
    if "image" not in body or not body["image"]:
        raise invalid(["$: missing property 'image'"])
    defaults: dict[str, Any] = {
        "args": "", "disk": DISK, "ports": [], "env": {}, "registry": None, "mounts": {}, "cloud": "SECURE",
        "dataCenterIds": [], "globalNetworking": False, "startSsh": False, "startJupyter": False,
    }  # fmt: skip
    return {**defaults, **body}


def _add_template(account: Account, body: dict[str, Any]) -> None:
    template = account.template(body["templateId"])
    if template["serverless"]:
        raise invalid(["$.templateId: serverless template (wording invented)"])
    for name in COPIED:
        if template[name] is not None:
            body.setdefault(name, template[name])
    body["env"] = {**template["env"], **body.get("env", {})}
    for name in ("startSsh", "startJupyter"):
        body.setdefault(name, template[name])
    gpu = body.get("gpu")
    if gpu is None:
        return  # CPU pods ignore the template's CUDA versions and its mount
    if "allowedCudaVersions" not in gpu and "minCudaVersion" not in gpu and template["category"] != "AMD":
        gpu["allowedCudaVersions"] = list(template["allowedCudaVersions"])
    if template["mounts"]:
        body.setdefault("mounts", template["mounts"])


def _check_compute(body: dict[str, Any]) -> None:
    gpu, cpu = body.get("gpu"), body.get("cpu")
    if (gpu is None) == (cpu is None):
        raise Refused(400, "exactly one of gpu and cpu must be set (wording invented)")
    if gpu is not None and gpu.get("allowedCudaVersions") and gpu.get("minCudaVersion"):
        raise Refused(400, "allowedCudaVersions and minCudaVersion are mutually exclusive (wording invented)")
    if cpu is not None:
        flavour, count = CPUS.get(cpu["id"]), int(cpu["vcpuCount"])
        if flavour is None or count > flavour.most or count & (count - 1):
            raise Refused(400, "no such cpu flavour or vcpuCount (wording invented)")
        if body.get("mounts", {}).get("persistent"):
            raise Refused(400, "cpu pods have no persistent mount (wording invented)")


def _check_mounts(body: dict[str, Any]) -> None:
    mounts = body.get("mounts", {})
    if "persistent" in mounts and "network" in mounts:
        raise Refused(400, "mounts.persistent and mounts.network are mutually exclusive (wording invented)")
    if mounts.get("network") and body.get("cloud", "SECURE") != "SECURE":
        raise Refused(400, "network volumes need the SECURE cloud (wording invented)")


def volume_centre(account: Account, plan: dict[str, Any]) -> str | None:
    """The data centre that the network volume dictates. Raises Refused: 404 unknown, 400 elsewhere."""
    for mount in plan["mounts"].get("network", []):
        centre = str(account.volume(mount["volumeId"]).facts["dataCenter"])
        if plan["dataCenterIds"] and centre not in plan["dataCenterIds"]:
            raise Refused(400, "network volume is in another data center (wording invented)")
        return centre
    return None
