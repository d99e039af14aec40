"""Everything that a simulated Vast.ai has: the market, its accounts' things, and the knobs of its own."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from fleet.simulators.clock import SECOND
from fleet.simulators.machine import Machine
from fleet.simulators.meter import Meter
from fleet.simulators.vast.contract import Contract, contract_of
from fleet.simulators.vast.limits import Limits
from fleet.simulators.vast.stock import Ask, market
from fleet.simulators.vast.templates import Templates
from fleet.simulators.world import World

OWNER = 123_456
KNOBS = (
    *("ask_gone_404", "ask_gone_410", "ask_gone_400", "double_buy_accepts_both", "show_fails_after_create"),
    *("born_stopped", "never_leaves_loading", "oci_create_failed", "host_offline", "unknown_heartbeat", "frozen"),
    *("scheduling_forever", "expires_in", "price_increase_request", "no_direct_ports", "ip_change"),
    *("spend_rate_limit", "out_of_credit_body", "offers_object", "throttle", "search_quota", "destroy_not_found"),
    *("foreign_ask", "self_exit"),
)
# what a machine may be born with
BIRTH = (
    *("born_stopped", "never_leaves_loading", "oci_create_failed", "host_offline", "unknown_heartbeat", "frozen"),
    *("scheduling_forever", "expires_in", "price_increase_request", "no_direct_ports", "stuck_provisioning"),
    *("running_no_ssh", "ssh_refused", "ssh_wrong_key", "price.jump", "self_exit", "ip_change"),
)


@dataclass
class Timing:
    """Virtual seconds; all invented but for the orders of magnitude (providers.md 2.7: boot 1 to 5 minutes)."""

    appears: float = 2.0  # a new row in lists
    created: float = 6.0
    loading: float = 10.0
    pull: float = 70.0  # until running; a cached image would take 30
    resume: float = 20.0  # a stopped one whose image is there
    outbid: float = 900.0  # until a bid that lost wins again by itself
    deletion: float = 24 * 3600.0  # from an empty account to its instances' end
    logs: int = 2  # reads of a result_url that are 404 first


@dataclass
class Volume:
    """A disk of its own on one machine."""

    id: int
    owner: int
    name: str
    size: float
    ask: Ask
    meter: Meter
    born: float


@dataclass
class House:
    """The state beside the world. keys: bearer -> owner; empty: every key is OWNER's, but for those that begin with
    "wrong". Everything is read and changed with the world's lock held."""

    world: World
    seed: int = 0
    keys: Mapping[str, int] = field(default_factory=dict)
    timing: Timing = field(default_factory=Timing)
    limits: Limits = field(default_factory=Limits)
    url: Callable[[], str] = lambda: ""  # where this is served

    def __post_init__(self) -> None:
        self.asks = market(self.seed, self.now)
        self.templates = Templates()
        self.volumes: dict[int, Volume] = {}
        self.ssh_keys: list[dict[str, Any]] = []
        self.secrets: dict[int, dict[str, str]] = {}
        self.results: dict[str, tuple[str, int]] = {}  # token -> text, reads that are still 404
        self.last = 20_118_480
        for ask in self.asks.values():
            key = stock_key(ask)
            self.world.stock[key] = max(self.world.stock.get(key, 0), int(ask.row["num_gpus"]))

    @property
    def now(self) -> float:
        """Epoch seconds."""
        return self.world.now / SECOND

    def stamped(self, seconds: float | None = None) -> float:
        """A time as the API writes it, off by clock.skew."""
        at = None if seconds is None else round(seconds * SECOND)
        return self.world.stamp(at).timestamp()

    def number(self) -> int:
        """A new id, of a contract or of a volume: they share a series (invented)."""
        self.last += 1
        return self.last

    def owner(self, key: str) -> int | None:
        """Whose key this is; None for nobody's."""
        if self.keys:
            return self.keys.get(key)
        return OWNER if key and not key.startswith("wrong") else None

    def contracts(self, owner: int) -> list[Machine]:
        """The owner's, alive."""
        return [each for each in self.world.living.values() if contract_of(each).owner == owner]

    def of_key(self, key: str) -> Contract | None:
        """The instance whose own key this is (CONTAINER_API_KEY)."""
        found = (contract_of(machine) for machine in self.world.living.values())
        return next((contract for contract in found if contract.key == key), None)

    def free(self, ask: Ask) -> bool:
        """Whether the slice can be rented now: listed, not held, and its machine has that many GPUs left."""
        held = {contract_of(machine).ask.id for machine in self.world.living.values() if machine.stock is not None}
        left = self.world.stock.get(stock_key(ask), math.inf)
        return ask.listed and ask.id not in held and left >= int(ask.row["num_gpus"])

    def secrets_of(self, owner: int) -> dict[str, str]:
        return self.secrets.setdefault(owner, {})


def stock_key(ask: Ask) -> str:
    """World.stock's name of a machine's GPUs."""
    return f"machine:{ask.machine}"
