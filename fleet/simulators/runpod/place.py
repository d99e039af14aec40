"""Where a pod would go: data centre, CUDA version and stock, or the one answer for everything: no capacity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fleet.simulators.runpod.account import Account
from fleet.simulators.runpod.catalogue import DATA_CENTRES, GPUS, Gpu, fitting
from fleet.simulators.runpod.problems import Refused, no_capacity


@dataclass(frozen=True)
class Place:
    """`stock` is the key in World.stock and how many of it."""

    centre: str
    cuda: str | None
    stock: tuple[str, int]


def stock_key(cloud: str, kind: str, centre: str) -> str:
    """`SECURE/NVIDIA L4/EU-RO-1`: set it with /_sim/stock; a key that is not there is no limit."""
    return f"{cloud}/{kind}/{centre}"


def find(account: Account, body: dict[str, Any], volume_centre: str | None) -> Place:
    """The first place that fits. Raises Refused: 403 for a forbidden pool, 400 for no capacity."""
    faults = account.world.faults
    centres = body.get("dataCenterIds") or None
    if "cpu" in body:
        here = [one for one in DATA_CENTRES if _wanted(one, centres, volume_centre)]
        return _free(account, body["cloud"], body["cpu"]["id"], int(body["cpu"]["vcpuCount"]), here, None)
    wanted = body["gpu"]
    if faults.take("pool_forbidden", gpu=wanted["id"]) is not None:
        raise Refused(403, "access denied")
    gpu = GPUS.get(wanted["id"])
    if gpu is None or ("count" not in wanted and faults.take("gpu_count_optional") is None):
        raise refusal(account)  # a live record: without `count` every create fails like this (1.7)
    count = int(wanted.setdefault("count", 1))
    versions = _versions(gpu, wanted)
    small = wanted.get("minRamPerGpu", 0) > gpu.ram or wanted.get("minVcpuCountPerGpu", 0) > gpu.vcpus
    lacking = count > gpu.most or small or (body["cloud"] == "COMMUNITY" and gpu.community is None)
    if versions == [] or lacking or faults.take("capacity_phantom", gpu=gpu.id) is not None:
        raise refusal(account)
    here = [centre for centre in gpu.centres if _wanted(centre, centres, volume_centre)]
    return _free(account, body["cloud"], gpu.id, count, here, versions[0] if versions else None)


def refusal(account: Account) -> Refused:
    """No capacity, in the recorded words or in one of the older ones."""
    return no_capacity(account.world.faults.take("capacity_text_variant") is not None)


def _versions(gpu: Gpu, wanted: dict[str, Any]) -> list[str] | None:
    """CUDA versions it may get; None where there is no CUDA and none is asked for."""
    exactly, least = list(wanted.get("allowedCudaVersions", [])), str(wanted.get("minCudaVersion", ""))
    if not gpu.cuda and not exactly and not least:
        return None
    return fitting(gpu.cuda, exactly, least)


def _wanted(centre: str, centres: list[str] | None, volume_centre: str | None) -> bool:
    return (centres is None or centre in centres) and volume_centre in (None, centre)


def _free(account: Account, cloud: str, kind: str, count: int, here: list[str], cuda: str | None) -> Place:
    for centre in here:
        key = stock_key(cloud, kind, centre)
        left = account.world.stock.get(key)
        if left is None or left >= count:
            return Place(centre, cuda, (key, count))
    raise refusal(account)
