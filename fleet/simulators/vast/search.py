"""`POST /api/v0/bundles/` and `PUT /api/v0/search/asks/`: which slices, in which order, at which price."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from fleet.simulators.vast import prices
from fleet.simulators.vast.queries import BadQuery, Row, accepts, checked, country, driver, in_order, number, truth
from fleet.simulators.vast.stock import Ask

TYPES = {"ondemand": "on-demand", "on-demand": "on-demand", "bid": "bid", "reserved": "reserved"}
LIMIT, DISK = 64, 8  # the spec's default of volume searches, and of allocated_storage

# every filter of the OpenAPI file, and those that its text or the docs name besides
FIELDS = (
    *("verified", "rentable", "rented", "external", "gpu_name", "reliability", "reliability2", "num_gpus", "gpu_ram"),
    *("duration", "machine_id", "host_id", "id", "dlperf_per_dphtotal", "dph_total", "flops_per_dphtotal"),
    *("geolocation", "gpu_arch", "dlperf", "cuda_max_good", "inet_down", "inet_up", "inet_down_cost", "inet_up_cost"),
    *("driver_version", "compute_cap", "cpu_arch", "has_avx", "cpu_cores", "cpu_cores_effective", "cpu_ghz", "cpu_ram"),
    *("datacenter", "disk_bw", "disk_space", "bw_nvlink", "gpu_max_power", "gpu_max_temp", "gpu_mem_bw"),
    *("gpu_total_ram", "gpu_frac", "gpu_display_active", "direct_port_count", "min_bid", "mobo_name", "pci_gen"),
    *("pcie_bw", "storage_cost", "static_ip", "total_flops", "os_version", "ubuntu_version", "verification"),
    *("vms_enabled", "dph_base", "gpu_lanes", "cluster_id", "has_avx", "score", "ask_contract_id", "bundle_id"),
)
# order takes a few columns that filters do not
ORDERS = (*FIELDS, "start_date", "end_date", "discounted_dph_total", "dph_total_adj", "score")


@dataclass(frozen=True)
class Search:
    """One search, read and checked."""

    filters: Mapping[str, Mapping[str, Any]]
    order: tuple[tuple[str, str], ...]
    kind: str
    limit: int
    disk: Decimal


def parse(body: Any, where: str = "bundles") -> Search:
    """The body of a search; the newer path wraps it in `q`. Raises BadQuery."""
    if not isinstance(body, dict):
        raise BadQuery("Invalid json body")
    wanted = body.get("q") if where == "asks" else body
    if not isinstance(wanted, dict):
        raise BadQuery("Invalid json body")
    rest = dict(wanted)
    kind = rest.pop("type", None)
    if kind is not None and kind not in TYPES:
        raise BadQuery(f"Error in query parameters: {kind} is not a valid type")
    order = ordering(rest.pop("order", None))
    limit, disk = number(rest.pop("limit", None)), number(rest.pop("allocated_storage", None))
    if limit is not None and limit < 1:
        raise BadQuery("Error in query parameters: limit")
    return Search(
        checked(rest, FIELDS),
        order,
        TYPES.get(kind or "on-demand", "on-demand"),
        LIMIT if limit is None else int(limit),
        prices.read(DISK if disk is None else disk),
    )


def ordering(given: Any) -> tuple[tuple[str, str], ...]:
    """Pairs of field and direction, any number of them (the spec's "exactly 2" is wrong: providers.md 2.1)."""
    if given is None:
        return (("score", "desc"),)
    if not isinstance(given, list):
        raise BadQuery("Error in query parameters: order takes pairs of field and direction")
    for pair in given:
        if not isinstance(pair, list) or len(pair) != 2 or pair[1] not in ("asc", "desc"):
            raise BadQuery("Error in query parameters: order takes pairs of field and direction")
        if pair[0] not in ORDERS:
            raise BadQuery(f"Error in query parameters: {pair[0]} is not a valid order key")
    return tuple((str(name), str(way)) for name, way in given)


def offers(asks: Iterable[Ask], search: Search, now: float, free: Callable[[Ask], bool]) -> list[dict[str, Any]]:
    """The rows of an answer. free: whether the slice's GPUs can be had now; taken ones show only when asked for."""
    tests = read_values({"rentable": {"eq": True}, "rented": {"eq": False}, **search.filters})
    rows = [offer(ask, search, now, free(ask)) for ask in asks if ask.listed]
    found = [row for row in rows if accepts(row, tests, field)]
    return in_order(found, search.order)[: search.limit]


def offer(ask: Ask, search: Search, now: float, free: bool) -> dict[str, Any]:
    """One row as this search prices it: a bid search shows the least bid, a reserved one the discount (invented)."""
    base = {"bid": ask.bid, "reserved": ask.base * Decimal("0.9")}.get(search.kind, ask.base)
    disk = prices.disk_hour(ask.storage, search.disk)
    whole = base + disk
    row = {
        **ask.row,
        "dph_base": prices.shown(base),
        "dph_total": prices.shown(whole),
        "dph_total_adj": prices.shown(whole),
        "discounted_dph_total": prices.shown(whole),
        "storage_cost": float(ask.storage),
        "storage_total_cost": prices.shown(disk),
        "avail_vol_dph": prices.shown(prices.disk_hour(ask.storage, Decimal(1))),
        "min_bid": prices.shown(ask.bid),
        "is_bid": search.kind == "bid",
        "rentable": free,
        "rented": ask.holder is not None,
        "duration": max(0.0, ask.row["end_date"] - now),
        "search": prices.split(base, disk),
        "instance": prices.split(base, disk),
    }
    per_dollar = float(whole) or 1.0
    row["dlperf_per_dphtotal"] = round(row["dlperf"] / per_dollar, 2)
    row["flops_per_dphtotal"] = round(row["total_flops"] / per_dollar, 2)
    return row


def read_values(filters: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Mapping[str, Any]]:
    """Filters whose values need reading: drivers as numbers, countries as codes."""
    read: dict[str, Callable[[Any], Any]] = {"driver_version": driver, "geolocation": country}
    return {
        name: {operator: each(value, read[name]) for operator, value in tests.items()} if name in read else tests
        for name, tests in filters.items()
    }


def each(value: Any, read: Callable[[Any], Any]) -> Any:
    return [read(one) for one in value] if isinstance(value, list) else read(value)


def field(row: Row, name: str) -> Any:
    """A field as filters mean it."""
    match name:
        case "verified":
            return row["verification"] == "verified"
        case "datacenter":
            return row["hosting_type"] == 1
        case "driver_version":
            return row["driver_vers"]
        case "geolocation":
            return country(row["geolocation"])
        case "ubuntu_version":
            return row["os_version"]
        case "external" | "gpu_display_active" | "vms_enabled":
            return bool(truth(row.get(name)))
    return row.get(name)
