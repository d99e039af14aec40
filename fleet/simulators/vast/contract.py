"""One rental at Vast: a contract on a slice, and the three states it has (providers.md 2.6, 2.7)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from fleet.simulators.machine import Machine
from fleet.simulators.vast import prices
from fleet.simulators.vast.orders import Order
from fleet.simulators.vast.stock import Ask

SSH = "22/tcp"


@dataclass
class Contract:
    """What the provider keeps of a machine. base: USD/h of its GPUs, the bid's price for a bid; key: for this instance
    alone; life: counts starts, so that an event of an earlier one does nothing; times are epoch seconds."""

    id: int
    owner: int
    ask: Ask
    order: Order
    base: Decimal
    key: str = field(repr=False)
    label: str | None
    image: str
    end: float
    template_id: int | None = None
    template_hash: str | None = None
    actual: str | None = None
    intended: str = "running"
    current: str = "running"
    next: str = "running"
    message: str | None = None
    life: int = 0
    begun: float | None = None  # when it last became running
    ports: dict[str, list[dict[str, str]]] | None = None
    address: str = ""
    keys: list[dict[str, Any]] = field(default_factory=list)
    outbid: bool = False
    log: list[str] = field(default_factory=list)
    volume: int | None = None

    @property
    def is_bid(self) -> bool:
        return self.order.bid is not None

    @property
    def disk_hour(self) -> Decimal:
        """USD/h of its disk, from its creation to its end."""
        return prices.disk_hour(self.ask.storage, self.order.disk)

    def rates(self) -> dict[str, Decimal]:
        """What it costs now: the disk always, GPUs only while they run or are frozen (providers.md 2.7)."""
        busy = self.actual in ("running", "frozen") or (
            self.actual in ("offline", "unknown") and self.begun is not None
        )
        if self.actual == "offline":
            return {}  # "storage, also at negative balance, except while the host is offline" (providers.md 0.2)
        return {"disk": self.disk_hour, **({"gpu": self.base} if busy else {})}

    def inside_ports(self) -> list[str]:
        """The ports it asked for: "22/tcp" for direct SSH, "8080/tcp" for Jupyter, and its -p flags."""
        found = [SSH] if self.order.direct else []
        if self.order.direct and "jupyter" in (self.order.runtype or ""):
            found.append("8080/tcp")
        for name in self.order.env:
            if name.startswith("-p "):
                inside = name[3:].strip().rpartition(":")[2]
                port, _, kind = inside.partition("/")
                found.append(f"{port}/{kind or 'tcp'}")
        return list(dict.fromkeys(found))


def contract_of(machine: Machine) -> Contract:
    found = machine.facts["contract"]
    assert isinstance(found, Contract)
    return found


def variables(env: Mapping[str, str]) -> dict[str, str]:
    """Without the docker flags among them."""
    return {name: value for name, value in env.items() if not name.startswith("-")}
