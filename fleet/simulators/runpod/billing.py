"""Past spend by bucket (providers.md 1.14), from the same meters that take the credit."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from fleet.simulators.clock import micros, moment
from fleet.simulators.meter import Meter
from fleet.simulators.runpod.account import Account
from fleet.simulators.runpod.problems import Refused, invalid
from fleet.simulators.wire import Reply, Request

SIZES = ("hour", "day", "week", "month", "year")
ALL = (
    *("totalAmount", "podGpuAmount", "podCpuAmount", "podDiskAmount", "serverlessGpuAmount", "serverlessCpuAmount"),
    *("serverlessDiskAmount", "serverlessFeeAmount", "storageStandardAmount", "storageHighPerformanceAmount"),
    *("endpointAmount", "clusterGpuAmount", "clusterDiskAmount", "clusterNetworkingAmount"),
)
Amounts = dict[str, float]


class Billing:
    """The calls below /v2/billing."""

    def __init__(self, account: Account) -> None:
        self.account, self.world = account, account.world

    def pods(self, request: Request) -> Reply:
        """One record per pod and bucket in which it cost anything."""
        wanted = request.query.get("podId")
        meters = {one.id: one.meter for one in self.world.machines.values() if wanted in (None, one.id)}
        names = {"gpu": "gpuAmount", "cpu": "cpuAmount", "disk": "diskAmount"}
        return self._by_one(request, "podId", meters, names, "uniquePodCount")

    def volumes(self, request: Request) -> Reply:
        wanted = request.query.get("networkVolumeId")
        known = (*self.account.volumes.values(), *self.account.deleted_volumes)
        meters = {one.facts["id"]: one.meter for one in known if wanted in (None, one.facts["id"])}
        names = {"standard": "standardAmount", "highPerformance": "highPerformanceAmount"}
        return self._by_one(request, "networkVolumeId", meters, names, "uniqueNetworkVolumeCount")

    def everything(self, request: Request) -> Reply:
        """All of it together."""
        window = _window(request, self._now())
        machines = [one.meter for one in self.world.machines.values()]
        volumes = [one.meter for one in (*self.account.volumes.values(), *self.account.deleted_volumes)]
        names = {"gpu": "podGpuAmount", "cpu": "podCpuAmount", "disk": "podDiskAmount",
                 "standard": "storageStandardAmount", "highPerformance": "storageHighPerformanceAmount"}  # fmt: skip
        records = []
        for start, end in window.buckets():
            amounts = _amounts(_spent([*machines, *volumes], start, min(end, self._now())), names, ALL)
            if amounts["totalAmount"]:
                records.append({**_range(start, end), **amounts})
        return Reply(200, _answer(window, records, ALL, {}))

    def nothing(self, request: Request) -> Reply:
        """Serverless, public endpoints, clusters: there are none here."""
        return Reply(200, _answer(_window(request, self._now()), [], ("totalAmount",), {}))

    def _now(self) -> datetime:
        return moment(self.world.now)

    def _by_one(self, request: Request, key: str, meters: dict[str, Meter], names: dict[str, str], count: str) -> Reply:
        window = _window(request, self._now())
        records: list[dict[str, Any]] = []
        for start, end in window.buckets():
            for one, meter in meters.items():
                amounts = _amounts(
                    _spent([meter], start, min(end, self._now())), names, ("totalAmount", *names.values())
                )
                if amounts["totalAmount"]:
                    records.append({**_range(start, end), key: one, **amounts})
        extra = {count: len({record[key] for record in records})}
        query = {key: request.query[key]} if key in request.query else {}
        answer = _answer(window, records, ("totalAmount", *names.values()), extra)
        answer["metadata"]["query"] |= query
        return Reply(200, answer)


class _Window:
    """From `start` to `end`, both on edges of buckets."""

    def __init__(self, start: datetime, end: datetime, size: str) -> None:
        self.start, self.end, self.size = _floor(start, size), end, size
        edge = _floor(end, size)
        self.end = edge if edge == end else _next(edge, size)

    def buckets(self) -> list[tuple[datetime, datetime]]:
        found, at = [], self.start
        while at < self.end:
            found.append((at, _next(at, self.size)))
            at = found[-1][1]
        return found


def _window(request: Request, now: datetime) -> _Window:
    """Raises Refused: 422 for what cannot be read, 400 for lastN beside times."""
    query = request.query
    size = query.get("bucketSize", "day")
    if size not in SIZES:
        raise invalid([f"$.bucketSize: value must be one of {', '.join(repr(one) for one in SIZES)}"])
    last = query.get("lastN")
    if last is not None and (not last.isdecimal() or not int(last)):
        raise invalid(["$.lastN: must be >= 1"])
    if last is not None:
        if "startTime" in query or "endTime" in query:
            raise Refused(400, "lastN and startTime/endTime are mutually exclusive (wording invented)")
        end = _next(_floor(now, size), size)
        start = _floor(now, size)
        for _ in range(min(int(last), 10_000) - 1):
            start = _floor(start - timedelta(seconds=1), size)
        return _Window(start, end, size)
    return _Window(_time(query, "startTime", now - timedelta(days=30)), _time(query, "endTime", now), size)


def _time(query: dict[str, str], name: str, default: datetime) -> datetime:
    if name not in query:
        return default
    try:
        found = datetime.fromisoformat(query[name])
        if found.tzinfo is None:
            raise ValueError(query[name])
    except ValueError:
        raise invalid([f"$.{name}: not a date-time (wording invented)"]) from None
    return found.astimezone(UTC)


def _floor(at: datetime, size: str) -> datetime:
    day = at.replace(hour=0, minute=0, second=0, microsecond=0)
    edges: dict[str, Callable[[], datetime]] = {
        "hour": lambda: at.replace(minute=0, second=0, microsecond=0),
        "day": lambda: day,
        "week": lambda: day - timedelta(days=day.weekday()),
        "month": lambda: day.replace(day=1),
        "year": lambda: day.replace(month=1, day=1),
    }
    return edges[size]()


def _next(edge: datetime, size: str) -> datetime:
    """The edge after `edge`."""
    far = {"hour": timedelta(hours=1), "day": timedelta(days=1), "week": timedelta(days=7)}
    return edge + far[size] if size in far else _floor(edge + timedelta(days=32 if size == "month" else 367), size)


def _spent(meters: list[Meter], start: datetime, end: datetime) -> dict[str, Decimal]:
    found: dict[str, Decimal] = {}
    for meter in meters:
        for kind, usd in meter.between(micros(start), micros(end)).items():
            found[kind] = found.get(kind, Decimal(0)) + usd
    return found


def _amounts(spent: dict[str, Decimal], names: dict[str, str], fields: tuple[str, ...]) -> Amounts:
    row = dict.fromkeys(fields, 0.0)
    for kind, usd in spent.items():
        row[names[kind]] = float(usd)
    row["totalAmount"] = float(sum(spent.values(), Decimal(0)))
    return row


def _range(start: datetime, end: datetime) -> dict[str, str]:
    return {"startTime": _text(start), "endTime": _text(end)}


def _text(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def _answer(window: _Window, records: list[dict[str, Any]], fields: tuple[str, ...], extra: dict[str, int]) -> Any:
    totals = {name: sum(record[name] for record in records) for name in fields}
    query = {**_range(window.start, window.end), "bucketSize": window.size}
    metadata = {"query": query, "recordCount": len(records), "totals": totals, **extra}
    return {"records": records, "metadata": metadata}
