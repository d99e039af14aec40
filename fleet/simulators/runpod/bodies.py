"""The request bodies of REST v2 (providers.md 1.5-1.12), with and without the fields that are newer than its spec."""

from __future__ import annotations

import json
from typing import Any

from fleet.simulators.runpod.problems import Refused, invalid
from fleet.simulators.runpod.shapes import Check, flag, list_of, nullable, one_of, record, table_of, text, whole
from fleet.simulators.wire import Request

VERSION = r"^\d+\.\d+$"
CLOUDS = ("SECURE", "COMMUNITY")
ACTIONS = ("start", "stop", "restart", "terminate")
KEY = r"^(ssh|ecdsa|sk)-[^\s]+ [^\s]+([ \t][^\n\r]*)?$"

CONTAINER: dict[str, Check] = {
    "image": text(),
    "args": text(),
    "disk": whole(1),
    "ports": list_of(text(pattern=r"^\d+/(http|tcp)$")),
    "env": table_of(text()),
    "registry": nullable(text()),
}
WORDS: dict[str, Check] = {"entrypoint": list_of(text()), "cmd": list_of(text())}  # newer, 1.2
PERSISTENT = record({"size": whole(10), "path": text()}, ("size", "path"))
NETWORK = record({"volumeId": text(), "path": text()}, ("volumeId", "path"))
MOUNTS = record({"persistent": PERSISTENT, "network": list_of(NETWORK, 1)})
GPU: dict[str, Check] = {
    "id": text(),
    "count": whole(1),
    "allowedCudaVersions": list_of(text(pattern=VERSION)),
    "minCudaVersion": text(pattern=VERSION),
}
NEWER_GPU: dict[str, Check] = {"minRamPerGpu": whole(1), "minVcpuCountPerGpu": whole(1)}
CATEGORY = one_of("NVIDIA", "AMD", "CPU")


def create_pod(newer: bool) -> Check:
    gpu = record({**GPU, **(NEWER_GPU if newer else {})}, ("id",))
    own: dict[str, Check] = {
        "name": text(1),
        "cloud": one_of(*CLOUDS),
        "cpu": record({"id": text(1), "vcpuCount": whole(2)}, ("id", "vcpuCount")),
        "dataCenterIds": list_of(text()),
        "globalNetworking": flag,
        "gpu": gpu,
        "mounts": MOUNTS,
        "startJupyter": flag,
        "startSsh": flag,
        "templateId": text(1),
    }
    shape = record({**CONTAINER, **(WORDS if newer else {}), **own}, ("name",))

    def check(value: Any, where: str) -> list[str]:
        wrong = shape(value, where)
        if isinstance(value, dict) and "templateId" not in value and "image" not in value:
            wrong.append(f"{where}: missing property 'image'")
        return wrong

    return check


def update_pod(newer: bool) -> Check:
    own: dict[str, Check] = {
        "name": text(1), "globalNetworking": flag, "locked": flag, "mounts": MOUNTS, "templateId": text()
    }  # fmt: skip
    return record({**CONTAINER, **(WORDS if newer else {}), **own})


def template(newer: bool, required: tuple[str, ...]) -> Check:
    own: dict[str, Check] = {
        "name": text(1),
        "allowedCudaVersions": list_of(text(pattern=VERSION)),
        "category": CATEGORY,
        "mounts": record({"persistent": PERSISTENT}),  # a network mount: 422 (1.6)
        "public": flag,
        "serverless": flag,
        "startJupyter": flag,
        "startSsh": flag,
    }
    return record({**CONTAINER, **(WORDS if newer else {}), **own}, required)


ACTION = record({"action": one_of(*ACTIONS)}, ("action",))
SSH_KEYS = record({"keys": list_of(text(pattern=KEY))}, ("keys",))
CREATE_VOLUME = record(
    {"name": text(1), "size": whole(10, 4096), "dataCenter": text(1), "type": one_of("STANDARD", "HIGH_PERFORMANCE")},
    ("name", "size", "dataCenter"),
)
UPDATE_VOLUME = record({"name": text(1), "size": whole(10, 4096)}, least=1)
CREATE_REGISTRY = record({"name": text(1), "username": text(1), "password": text(1)}, ("name", "username", "password"))
SECRET_NAME = r"^(?!RUNPOD)[A-Za-z_][A-Za-z0-9_]{0,190}$"
CREATE_SECRET = record({"name": text(pattern=SECRET_NAME), "value": text(1), "description": text()}, ("name", "value"))
UPDATE_SECRET = record({"value": text(1), "description": text()}, least=1)


def read(request: Request, check: Check) -> dict[str, Any]:
    """The request's body. Raises Refused: 400 for what is no JSON (invented), 422 for what fails the check."""
    try:
        body = request.json()
    except (ValueError, RecursionError):
        request.violations.append("body: no JSON")
        raise Refused(400, "request could not be processed") from None
    wrong = check(body, "$")
    if wrong:
        request.violations.extend(f"{request.method} {words}" for words in wrong)
        raise invalid(wrong)
    found: dict[str, Any] = json.loads(json.dumps(body))
    return found
