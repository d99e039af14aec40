"""The catalogue as it is asked for (providers.md 1.11): no promise, since a listed GPU can still be refused."""

from __future__ import annotations

import re
from typing import Any

from fleet.simulators.runpod.account import Account
from fleet.simulators.runpod.catalogue import (
    CPUS,
    CUDA,
    DATA_CENTRES,
    GPUS,
    REGIONS,
    Cpu,
    Gpu,
    country,
    fitting,
    region,
    title,
)
from fleet.simulators.runpod.place import stock_key
from fleet.simulators.runpod.problems import Refused, invalid, not_found
from fleet.simulators.wire import Reply, Request

FILTERS = ("count", "cloud", "countryCodes", "cudaVersions", "minCudaVersion", "vcpuCount")
PRODUCTS = ("POD", "CLUSTER", "SERVERLESS")
RULES = {
    "include": r"AVAILABILITY",
    "product": rf"({'|'.join(PRODUCTS)})(,({'|'.join(PRODUCTS)}))*",
    "count": r"[1-9]\d*",
    "cloud": r"SECURE|COMMUNITY",
    "countryCodes": r"[A-Z]{2}(,[A-Z]{2})*",
    "cudaVersions": r"\d+\.\d+(,\d+\.\d+)*",
    "minCudaVersion": r"\d+(\.\d+)?",
    "vcpuCount": r"[1-9]\d*",
}
VOLUME_TYPES = ("STANDARD", "HIGH_PERFORMANCE")
COMPLIANCE = ("SOC_2_TYPE_2",)
LEVELS = ("NONE", "LOW", "MEDIUM", "HIGH")


class Catalogue:
    """The calls below /v2/catalog."""

    def __init__(self, account: Account) -> None:
        self.account = account

    def gpus(self, request: Request) -> Reply:
        query = _query(request)
        codes = query.get("countryCodes", "").split(",") if "countryCodes" in query else None
        rows = [self._gpu(gpu, query) for gpu in GPUS.values() if codes is None or _in(gpu, codes)]
        return Reply(200, {"gpus": rows})

    def gpu(self, request: Request) -> Reply:
        query, gpu = _query(request), GPUS.get(request.parts["id"])
        if gpu is None:
            raise not_found()
        return Reply(200, self._gpu(gpu, query))

    def cpus(self, request: Request) -> Reply:
        query = _query(request)
        return Reply(200, {"cpus": [_cpu(cpu, query) for cpu in CPUS.values()]})

    def cpu(self, request: Request) -> Reply:
        query, cpu = _query(request), CPUS.get(request.parts["id"])
        if cpu is None:
            raise not_found()
        return Reply(200, _cpu(cpu, query))

    def centres(self, request: Request) -> Reply:
        query, found = request.query, []
        for centre in DATA_CENTRES:
            if _centre_wanted(centre, query):
                found.append(self._centre(centre, query.get("include", "").split(",")))
        return Reply(200, {"dataCenters": found})

    def centre(self, request: Request) -> Reply:
        if request.parts["id"] not in DATA_CENTRES:
            raise not_found()
        return Reply(200, self._centre(request.parts["id"], request.query.get("include", "").split(",")))

    def _gpu(self, gpu: Gpu, query: dict[str, str]) -> dict[str, Any]:
        row: dict[str, Any] = {
            "id": gpu.id,
            "name": gpu.name,
            "pool": gpu.pool,
            "manufacturer": gpu.maker,
            "memory": gpu.memory,
            "secure": True,
            "community": gpu.community is not None,
            "price": {"secure": float(gpu.secure), "community": float(gpu.community or 0)},
            "maxCount": {"secure": gpu.most, "community": gpu.most if gpu.community else 0},
        }
        if "include" in query:
            row |= self._availability(gpu, query)
        return row

    def _availability(self, gpu: Gpu, query: dict[str, str]) -> dict[str, Any]:
        cloud, count = query.get("cloud", "SECURE"), int(query.get("count", 1))
        codes = query["countryCodes"].split(",") if "countryCodes" in query else None
        exactly = query["cudaVersions"].split(",") if "cudaVersions" in query else []
        fits = fitting(gpu.cuda, exactly, query.get("minCudaVersion", ""))
        possible = count <= gpu.most and (cloud == "SECURE" or gpu.community is not None)
        possible = possible and (bool(fits) or not gpu.cuda)
        centres = [
            {"id": one, "name": title(one), "availability": self._level(gpu.id, cloud, one, count, possible)}
            for one in gpu.centres
            if codes is None or country(one) in codes
        ]
        best = max((LEVELS.index(str(one["availability"])) for one in centres), default=0)
        row: dict[str, Any] = {"availability": LEVELS[best]}
        if centres:
            row["dataCenters"] = centres
        if gpu.maker == "NVIDIA":
            asked = [one for one in CUDA if not exactly or one in exactly]
            row["cudaVersions"] = [{"version": one, "available": one in gpu.cuda and best > 0} for one in asked]
        return row

    def _level(self, kind: str, cloud: str, centre: str, count: int, possible: bool = True) -> str:
        left = self.account.world.stock.get(stock_key(cloud, kind, centre))
        if not possible or (left is not None and left < count):
            return "NONE"
        if left is None:
            return "HIGH"
        return "LOW" if left < 4 * count else "MEDIUM" if left < 16 * count else "HIGH"

    def _centre(self, centre: str, include: list[str]) -> dict[str, Any]:
        row: dict[str, Any] = {
            "id": centre,
            "name": title(centre),
            "region": region(centre),
            "networkVolumeTypes": list(VOLUME_TYPES),
            "compliance": list(COMPLIANCE),
            "globalNetwork": True,
        }
        if "GPU_AVAILABILITY" in include:
            here = (gpu for gpu in GPUS.values() if centre in gpu.centres)
            row["gpuAvailability"] = [
                {"id": one.id, "name": one.name, "availability": self._level(one.id, "SECURE", centre, 1)}
                for one in here
            ]
        if "CPU_AVAILABILITY" in include:
            row["cpuAvailability"] = [{"id": one.id, "name": one.name, "availability": "HIGH"} for one in CPUS.values()]
        return row


def _in(gpu: Gpu, codes: list[str]) -> bool:
    return any(country(centre) in codes for centre in gpu.centres)


def _cpu(cpu: Cpu, query: dict[str, str]) -> dict[str, Any]:
    row: dict[str, Any] = {
        "id": cpu.id,
        "name": cpu.name,
        "group": cpu.group,
        "vcpu": {"min": 2, "max": cpu.most},
        "ramGbPerVcpu": cpu.ram,
        "price": {"securePerVcpu": float(cpu.price), "serverlessPerVcpu": float(cpu.price)},
    }
    if "include" in query:
        row["availability"] = "HIGH"
    return row


def _query(request: Request) -> dict[str, str]:
    """The query, checked: 422 for a malformed value, 400 for filters that do not go together."""
    query = request.query
    wrong = [name for name, rule in RULES.items() if name in query and not re.fullmatch(rule, query[name])]
    if wrong:
        raise invalid([f"$.{name}: invalid (wording invented)" for name in wrong])
    if "include" in query and "product" not in query:
        raise Refused(400, "include=AVAILABILITY requires product (wording invented)")
    if "include" not in query and any(name in query for name in ("product", *FILTERS)):
        raise Refused(400, "availability filters require include=AVAILABILITY (wording invented)")
    if "cudaVersions" in query and "minCudaVersion" in query:
        raise Refused(400, "cudaVersions and minCudaVersion are mutually exclusive (wording invented)")
    return query


def _centre_wanted(centre: str, query: dict[str, str]) -> bool:
    """Regions are alternatives, volume types and compliance must all be there (1.11)."""
    known = {"regions": {*REGIONS.values(), "SOUTH_AMERICA", "MIDDLE_EAST", "AFRICA", "ANTARCTICA", "UNKNOWN"},
             "networkVolumeTypes": set(VOLUME_TYPES)}  # fmt: skip
    for name, values in known.items():
        if name in query and not set(query[name].split(",")) <= values:
            raise invalid([f"$.{name}: invalid (wording invented)"])
    if "regions" in query and region(centre) not in query["regions"].split(","):
        return False
    return "compliance" not in query or set(query["compliance"].split(",")) <= set(COMPLIANCE)
