"""RunPod: the GPU catalogue of REST v2. Prices there are USD per hour of a single GPU, on demand only: v2 knows no spot
(providers.md 1.11, 1.14). The catalogue is no promise: a listed GPU can still be refused (1.11, 1.17)."""

from __future__ import annotations

import re
from typing import Any

from fleet.offers.offer import ON_DEMAND, Found, Offer, Question, sane
from fleet.wire import fields
from fleet.wire.failed import ProviderFailed
from fleet.wire.line import Line
from profiles import gpus

PROVIDER = "runpod"
CLOUDS = ("SECURE", "COMMUNITY")
DISK_PRICE = 0.10  # USD per GB and month of container disk (providers.md 1.12)
LEVELS = {"LOW": "low", "MEDIUM": "medium", "HIGH": "high"}
GONE = "NONE"


def offers(line: Line, question: Question, seen: str) -> Found:
    """One request for each count and cloud: stock is told only for the count that was asked about.

    Raises ProviderFailed.
    """
    found = Found()
    for cloud in CLOUDS:
        for count in question.counts:
            # include= needs product=, count and cloud need include= (400 otherwise), providers.md 1.11.
            query = {"include": "AVAILABILITY", "product": "POD", "count": str(count), "cloud": cloud}
            found.add(parse(line.get("/v2/catalog/gpus", query), question, count, cloud, seen))
    return found


def parse(answer: Any, question: Question, count: int, cloud: str, seen: str) -> Found:
    """The offers in one answer. Lists are wrapped by resource (1.4). Raises ProviderFailed when there is no list."""
    listed = answer.get("gpus") if isinstance(answer, dict) else None
    if not isinstance(listed, list):
        raise ProviderFailed(PROVIDER, "an answer without `gpus`", "its API may have changed; look for a newer Stoker")
    found = Found()
    for row in fields.rows(listed):
        one(row, found, question, count, cloud, seen)
    return found


def one(row: dict[str, Any], found: Found, question: Question, count: int, cloud: str, seen: str) -> None:
    """Adds what one GPU type offers at `cloud`: an offer for each data centre that has it, or a reason why not."""
    name = fields.text(row, "id")
    key = key_of(name)
    if key is None:
        found.skip(PROVIDER, name, "no GPU of Stoker's table")
        return
    place = cloud.lower()
    most = fields.whole(fields.inner(row, "maxCount"), place)
    if key not in question.wanted or fields.flag(row, place) is False or (most is not None and most < count):
        return
    level = fields.text(row, "availability").upper()
    if level == GONE:
        return
    price = fields.number(fields.inner(row, "price"), place)
    if price is None or not sane(price, count):
        found.skip(PROVIDER, name, f"no readable price at {place}")
        return
    centres = [centre for centre in listed_centres(row) if fields.text(centre, "availability").upper() != GONE]
    for centre in centres or [{"availability": level}]:
        region = fields.text(centre, "id")
        found.offers.append(
            Offer(
                PROVIDER,
                key,
                count,
                price,
                ON_DEMAND,
                f"{name}/{count}/{place}/{region or 'any'}",
                seen,
                region=region,
                name=name,
                tier=place,
                stock=LEVELS.get(fields.text(centre, "availability").upper(), "unknown"),
                disk_price=DISK_PRICE,
                up_price=0.0,  # no traffic fees (providers.md 1.12)
                down_price=0.0,
                cuda=newest_cuda(row),
            )
        )


def listed_centres(row: dict[str, Any]) -> list[dict[str, Any]]:
    """The data centres of a row; absent when there are none (1.11)."""
    centres = row.get("dataCenters")
    return fields.rows(centres) if isinstance(centres, list) else []


def newest_cuda(row: dict[str, Any]) -> str:
    """The newest CUDA that some machine with room has; `available` false: offered, but full (1.11)."""
    listed = row.get("cudaVersions")
    versions = [
        fields.text(entry, "version")
        for entry in (fields.rows(listed) if isinstance(listed, list) else [])
        if fields.flag(entry, "available") is not False
    ]
    numbers = [version for version in versions if re.fullmatch(r"[0-9]{1,3}\.[0-9]{1,3}", version)]
    # compared as numbers: 12.11 is newer than 12.2 (providers.md 1.7)
    return max(numbers, key=lambda version: tuple(map(int, version.split("."))), default="")


def key_of(name: str) -> str | None:
    """The table's key of RunPod's `gpu.id`, matched on the id, never on the display name (providers.md 0.4)."""
    return next((key for key, gpu in gpus.table().items() if gpu.providers.runpod == name and name), None)
