"""One offer to try, with what shall run on it, and why some are not worth a request."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from fleet.offers.offer import ON_DEMAND, Offer
from fleet.providers.provider import Provider
from fleet.providers.values import Container, Order, Template


@dataclass(frozen=True, slots=True)
class Candidate:
    """An offer at its provider. bid_usd_hour: for an interruptible one, the whole machine; template None: launch asks
    the provider for it."""

    provider: Provider
    offer: Offer
    container: Container
    bid_usd_hour: Decimal | None = None
    template: Template | None = None

    @property
    def usd_hour(self) -> Decimal:
        """What it is expected to cost, with its disk: the bid where there is one, it is the most that is paid."""
        listed = Decimal(str(round(self.offer.per_hour(self.container.disk_gb), 6)))
        return max(listed, self.bid_usd_hour) if self.bid_usd_hour is not None else listed

    @property
    def words(self) -> str:
        """`vast 2 x h100-sxm in US, on-demand`."""
        where = f" in {self.offer.region}" if self.offer.region else ""
        return f"{self.offer.provider} {self.offer.count} x {self.offer.gpu}{where}, {self.offer.kind}"


def unwanted(candidate: Candidate, candidates: Sequence[Candidate], most_usd_hour: Decimal) -> str:
    """Why a candidate is not tried at all; "" when it is.

    A bid as dear as renting without one is refused (providers.md 6.2 row 7), and so is an interruptible offer without
    a bid, which Vast.ai would rent on demand (0.2).
    """
    offer, bid = candidate.offer, candidate.bid_usd_hour
    if candidate.usd_hour > most_usd_hour:
        return f"{candidate.usd_hour} USD/h is above the cap of {most_usd_hour}"
    if offer.kind == ON_DEMAND:
        return "" if bid is None else "a bid for an offer on demand"
    if bid is None:
        return "no bid: it would be rented on demand" if offer.provider == "vast" else ""
    for other in candidates:
        same = (other.offer.provider, other.offer.gpu, other.offer.count) == (offer.provider, offer.gpu, offer.count)
        if same and other.offer.kind == ON_DEMAND and other.usd_hour <= bid:
            return f"the bid of {bid} USD/h is no less than {other.usd_hour} on demand"
    return ""


def digest(order: Order) -> str:
    """A hash of an order without its tag and its secrets, for the ledger."""
    container = order.container
    content = {
        "offer": order.offer.to_json(),
        "image": container.image,
        "command": container.command,
        "env": sorted(container.env),
        "secrets": sorted(container.secrets),
        "ports": container.ports,
        "disk_gb": container.disk_gb,
        "volume": [container.volume, container.volume_gb, container.mount],
        "most_usd_hour": str(order.most_usd_hour),
        "bid_usd_hour": str(order.bid_usd_hour),
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
