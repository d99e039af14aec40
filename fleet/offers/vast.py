"""Vast.ai: the offer search. `dph_base`, `dph_total` and `min_bid` are USD per hour of the whole slice (providers.md
0.2, 2.4); one name covers cards of different memory, so `gpu_ram` decides which GPU it is."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from fleet.capacity.finish.disk import MONTH_HOURS
from fleet.offers.offer import INTERRUPTIBLE, ON_DEMAND, Found, Offer, Question, sane
from fleet.wire import fields
from fleet.wire.failed import ProviderFailed
from fleet.wire.line import Line
from profiles import gpus

PROVIDER = "vast"
PAGE = 250  # offers in one answer: there is a daily quota of rows (providers.md 2.1)
PAGES = 4  # the search takes 10 requests a minute (2.1); two kinds of 4 pages stay below it
RAM_DIFFERS = 0.1  # a card with more or less memory than the table's is another card (an RTX 4090 with 48 GB exists)
# `type` as the official client and the docs spell it; the OpenAPI file's enum says `ondemand` (2.1).
TYPES = {ON_DEMAND: "on-demand", INTERRUPTIBLE: "bid"}
PRICED = {ON_DEMAND: "dph_total", INTERRUPTIBLE: "min_bid"}


def offers(line: Line, question: Question, seen: str) -> Found:
    """All offers for the question. A cut answer is read on from its last price. Raises ProviderFailed."""
    found = Found()
    names = vast_names(question, found)
    if not names:
        return found
    for kind in (ON_DEMAND, INTERRUPTIBLE) if question.spot else (ON_DEMAND,):
        least, ids = 0.0, set[str]()
        for page in range(1, PAGES + 1):
            answer = line.search("/api/v0/bundles/", body(names, question, kind, least))
            read = parse(answer, question, kind, seen)
            found.add(Found([offer for offer in read.offers if offer.id not in ids], read.skipped))
            ids |= {offer.id for offer in read.offers}
            last = last_price(answer, kind)
            if last is None:
                break
            if page == PAGES or last <= least:
                found.skip(PROVIDER, f"{kind} machines above {last:.2f} USD/h", "the list was cut there")
                break
            least = last
    return found


def body(names: list[str], question: Question, kind: str, least: float = 0.0) -> dict[str, Any]:
    """The search: the filters that the official client adds by default (providers.md 2.4), and ours.

    The price is ordered upwards, and `least` starts the next page: the search itself has no pages. `order` is a list of
    pairs, of any length (2.1: the OpenAPI file wants exactly two).
    """
    filters: dict[str, Any] = {
        "verified": {"eq": True},
        "external": {"eq": False},
        "rentable": {"eq": True},
        "rented": {"eq": False},
        "gpu_name": {"in": names},
        "num_gpus": {"in": list(question.counts)},
        "reliability": {"gte": question.min_reliability},
        "direct_port_count": {"gte": 1},  # without one there is no shell but through Vast's proxy (2.8)
    }
    if question.machine.isdecimal():
        filters["machine_id"] = {"eq": int(question.machine)}
    if least:
        filters[PRICED[kind]] = {"gte": least}
    return {
        **filters,
        "type": TYPES[kind],
        "order": [[PRICED[kind], "asc"]],
        "limit": PAGE,
        "allocated_storage": question.disk_gb,
    }


def vast_names(question: Question, found: Found) -> list[str]:
    """Vast's names of the wanted GPUs; a GPU whose name nobody has seen there is told. Never guess one."""
    table = gpus.table()
    unknown = [key for key in question.wanted if table[key].providers.vast is None]
    for key in unknown if question.gpus else []:
        found.skip(PROVIDER, key, "its name there is not known")
    return sorted({name for key in question.wanted if (name := table[key].providers.vast)})


def parse(answer: Any, question: Question, kind: str, seen: str) -> Found:
    """The offers in one answer. Raises ProviderFailed when there is no list or the answer says that it failed."""
    if not isinstance(answer, dict) or "offers" not in answer or answer.get("success") is False:
        # HTTP 200 can carry success: false (providers.md 2.1)
        words = fields.text(answer, "msg") if isinstance(answer, dict) else ""
        raise ProviderFailed(PROVIDER, f"an answer without offers {words}".rstrip(), "ask again later")
    found = Found()
    for row in fields.rows(answer["offers"]):
        one(row, found, question, kind, seen)
    return found


def last_price(answer: Any, kind: str) -> float | None:
    """The highest price of a full page; None: the page was not full, so nothing comes after it."""
    listed = fields.rows(answer["offers"])
    if len(listed) < PAGE:
        return None
    return max((price for row in listed if (price := fields.number(row, PRICED[kind]))), default=None)


def one(row: dict[str, Any], found: Found, question: Question, kind: str, seen: str) -> None:
    """Adds the offer in one row, or the reason why it is none."""
    name = fields.text(row, "gpu_name").replace("_", " ")  # both spellings occur (providers.md 4.2)
    key, why = key_of(name, fields.number(row, "gpu_ram"))
    if key is None:
        found.skip(PROVIDER, name, why)
        return
    count, trust = fields.whole(row, "num_gpus"), reliability(row)
    if key not in question.wanted or count not in question.counts or fields.flag(row, "rentable") is False:
        return
    if fields.flag(row, "rented") is True or (trust is not None and trust < question.min_reliability):
        return
    price, identity = slice_price(row, kind, question.disk_gb), fields.text(row, "id")
    if price is None or not count or not sane(price / count, count) or not identity:
        found.skip(PROVIDER, name, "no readable price or id")
        return
    offer = Offer(PROVIDER, key, count, price / count, kind, identity, seen, name=name, reliability=trust)
    found.offers.append(replace(offer, **machine(row), **traffic(row)))


def machine(row: dict[str, Any]) -> dict[str, Any]:
    """What the row tells about the machine."""
    ram, cpus, cuda = (fields.number(row, name) for name in ("cpu_ram", "cpu_cores_effective", "cuda_max_good"))
    seconds = fields.number(row, "duration")  # left on offer
    return {
        "region": region(fields.text(row, "geolocation")),
        "tier": "datacenter" if fields.whole(row, "hosting_type") == 1 else fields.text(row, "verification"),
        "disk_gb": fields.number(row, "disk_space"),
        "ram_gb": None if ram is None else share(row, ram / 1000),  # MB (providers.md 2.4)
        "cpus": cpus,
        "nvlink_gbs": fields.number(row, "bw_nvlink"),
        "pcie_gbs": fields.number(row, "pcie_bw"),
        "cuda": "" if cuda is None else f"{cuda:.1f}",
        "driver": fields.text(row, "driver_version"),
        "hours": None if seconds is None else seconds / 3600,
        "machine": fields.text(row, "machine_id"),
    }


def traffic(row: dict[str, Any]) -> dict[str, Any]:
    """Prices of disk and traffic. `storage_cost` is USD per GB and month of 720 h, whatever the OpenAPI file says of an
    instance (providers.md 2.1, 2.4)."""
    return {
        "disk_price": fields.number(row, "storage_cost"),
        "up_price": fields.number(row, "inet_up_cost"),
        "down_price": fields.number(row, "inet_down_cost"),
        "up_mbs": fields.number(row, "inet_up"),
        "down_mbs": fields.number(row, "inet_down"),
    }


def share(row: dict[str, Any], whole: float) -> float | None:
    """The slice's part of a figure of the whole machine; `cpu_cores` may be null, then by `gpu_frac` (2.4)."""
    mine, all_of_it = fields.number(row, "cpu_cores_effective"), fields.number(row, "cpu_cores")
    part = mine / all_of_it if mine and all_of_it else fields.number(row, "gpu_frac")
    return None if part is None else whole * min(part, 1.0)


def slice_price(row: dict[str, Any], kind: str, disk_gb: float) -> float | None:
    """USD per hour of the slice, without the disk that was searched for where its price is told; None: not readable.

    `dph_total` = `dph_base` + the disk that the search named (providers.md 2.4); the disk's price is `disk_price`.
    A bid must be at least `min_bid`: the least it costs, not what holds (price.price bids more).
    """
    if kind == INTERRUPTIBLE:
        return fields.number(row, "min_bid")
    base = fields.number(row, "dph_base")
    if base is not None:
        return base
    total, month = fields.number(row, "dph_total"), fields.number(row, "storage_cost")
    return None if total is None else total - disk_gb * (month or 0.0) / MONTH_HOURS


def reliability(row: dict[str, Any]) -> float | None:
    """0..1, `reliability2` first: it is the one that others filter by (providers.md 2.4)."""
    second = fields.number(row, "reliability2")
    return fields.number(row, "reliability") if second is None else second


def region(place: str) -> str:
    """The two-letter country of "Sweden, SE"; strings vary, ", US" happens (providers.md 2.4), then as it is."""
    code = re.search(r"(?:^|, ?)([A-Z]{2})$", place)
    return code[1] if code else place


def key_of(name: str, ram: float | None) -> tuple[str | None, str]:
    """(key, "") of the table's GPU with Vast's `name` and `ram` MB each, or (None, why not)."""
    named = [gpu for gpu in gpus.table().values() if name and gpu.providers.vast == name]
    if not named:
        return None, "no GPU of Stoker's table"
    if ram is None:
        return None, "its memory is not told"
    near = min(named, key=lambda gpu: abs(gpu.memory_mib - ram))
    if abs(near.memory_mib - ram) > RAM_DIFFERS * near.memory_mib:
        return None, f"{ram / 1024:.0f} GiB each: another card than Stoker's {near.name}"
    return near.key, ""
