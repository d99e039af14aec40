"""One thing that can be rented now, in the same words for every provider, and what was left out of a list and why."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from typing import Any

from fleet.capacity.finish.disk import MONTH_HOURS
from fleet.wire import fields as read
from profiles import gpus

ON_DEMAND, INTERRUPTIBLE, SPOT = "on-demand", "interruptible", "spot"
KINDS = (ON_DEMAND, INTERRUPTIBLE, SPOT)
MOST_PRICE = 1000.0  # USD per GPU-hour: above it, it is no price
MOST_GPUS = 1024


@dataclass(frozen=True, slots=True)
class Question:
    """What to look for. gpus: keys of profiles/tables/gpus.yaml, empty: all; counts: GPUs in one machine.

    spot: interruptible offers too; disk_gb: the disk that will be asked for; min_reliability: 0..1, where it is told;
    machine: only this one, where a provider can be asked so.
    Raises WrongInput for a GPU that is not in the table.
    """

    gpus: tuple[str, ...] = ()
    counts: tuple[int, ...] = (1, 2, 4, 8)
    spot: bool = False
    disk_gb: float = 50.0
    min_reliability: float = 0.9  # one of dstack's floors for Vast (providers.md 2.4)
    machine: str = ""

    def __post_init__(self) -> None:
        for key in self.gpus:
            gpus.gpu(key)

    @property
    def wanted(self) -> tuple[str, ...]:
        """The keys asked for, all of the table when none was named."""
        return self.gpus or tuple(gpus.table())

    def covers(self, other: Question) -> bool:
        """Whether what answers this question holds the answer to `other`."""
        return (
            set(other.wanted) <= set(self.wanted)
            and set(other.counts) <= set(self.counts)
            and (self.spot or not other.spot)
            and self.min_reliability <= other.min_reliability
            and self.disk_gb == other.disk_gb
            and self.machine in ("", other.machine)
        )


@dataclass(frozen=True, slots=True)
class Offer:
    """A machine that is said to be free. Lists are stale in seconds: renting it may still be refused.

    provider: runpod, vast, hyperbolic; gpu: key of profiles/tables/gpus.yaml; name: the provider's own name of it;
    count: GPUs in it; price: USD per GPU-hour without disk and traffic; kind: one of KINDS; region: as the provider
    spells it; tier: secure, community, datacenter, verified, virtual-machine; id: the provider's, or ours of its parts.
    None and "" mean that the provider did not tell.
    """

    provider: str
    gpu: str
    count: int
    price: float
    kind: str
    id: str
    seen: str  # ISO 8601 time of the list, with its zone
    region: str = ""
    name: str = ""
    tier: str = ""
    stock: str = ""  # "low", "medium", "high", "unknown", or a number of machines
    disk_gb: float | None = None  # the most the machine gives
    disk_price: float | None = None  # USD per GB and month of MONTH_HOURS; 0: in the price
    up_price: float | None = None  # USD per GB sent; 0: in the price
    down_price: float | None = None  # USD per GB received
    ram_gb: float | None = None  # of the machine, for this offer's share of it
    cpus: float | None = None
    nvlink_gbs: float | None = None  # GB/s as told
    pcie_gbs: float | None = None  # GB/s as told
    network: str = ""  # between machines: "infiniband", "ethernet rocev2"
    up_mbs: float | None = None  # as told: MB/s in the OpenAPI file, Mb/s by others (providers.md 2.1)
    down_mbs: float | None = None
    cuda: str = ""  # the newest CUDA that some such machine's driver takes
    driver: str = ""
    reliability: float | None = None  # 0..1
    hours: float | None = None  # how long it is on offer
    machine: str = ""  # what to exclude when this machine was bad
    note: str = ""

    def per_hour(self, disk_gb: float = 0.0) -> float:
        """USD per hour of the whole machine with `disk_gb` of disk; a disk price that was not told counts as 0."""
        return self.price * self.count + disk_gb * (self.disk_price or 0.0) / MONTH_HOURS

    def to_json(self) -> dict[str, Any]:
        """Plain values, for a file or `--json`."""
        return asdict(self)


def from_json(row: object) -> Offer | None:
    """The offer that `to_json` wrote; None when `row` is not one (another version's file, a damaged one)."""
    if not isinstance(row, dict):
        return None
    values: dict[str, Any] = {}
    for known in fields(Offer):
        if known.name == "count":
            values["count"] = read.whole(row, "count")
        elif known.name == "price" or known.type == "float | None":
            values[known.name] = read.number(row, known.name)
        else:
            values[known.name] = read.text(row, known.name)
    if not values["count"] or not sane(values["price"], values["count"]):
        return None
    if values["kind"] not in KINDS or values["gpu"] not in gpus.table() or not values["provider"] or not values["seen"]:
        return None
    try:
        aware = datetime.fromisoformat(values["seen"]).tzinfo is not None
    except ValueError:
        return None
    return Offer(**values) if aware else None


def sane(price: float | None, count: int | None) -> bool:
    """Whether that can be a price per GPU-hour and a number of GPUs: unreadable is unknown, never free."""
    return price is not None and 0 < price <= MOST_PRICE and count is not None and 1 <= count <= MOST_GPUS


@dataclass(frozen=True, slots=True)
class Skipped:
    """A row of a provider's list that is no offer for us. what: the row's own words; why: one clause."""

    provider: str
    what: str
    why: str


@dataclass(slots=True)
class Found:
    """What one provider's list held."""

    offers: list[Offer] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)

    def skip(self, provider: str, what: str, why: str) -> None:
        """Notes a row that was left out."""
        self.skipped.append(Skipped(provider, what or "a row without a name", why))

    def add(self, other: Found) -> None:
        """Takes over what another request of the same provider found."""
        self.offers += other.offers
        self.skipped += other.skipped


def told(skipped: Iterable[Skipped], most: int = 4) -> list[str]:
    """One line per provider and reason: 'vast: RTX 4080, RTX A4000 and 12 more: GPUs Stoker has no figures for'."""
    groups: dict[tuple[str, str], list[str]] = {}
    for row in skipped:
        names = groups.setdefault((row.provider, row.why), [])
        if row.what not in names:
            names.append(row.what)
    lines = []
    for (provider, why), names in groups.items():
        more = f" and {len(names) - most} more" if len(names) > most else ""
        lines.append(f"{provider}: {', '.join(names[:most])}{more}: {why}")
    return lines
