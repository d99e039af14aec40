"""The offers that will do, in the order in which they are tried: what finishing costs, else what an hour costs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from decimal import ROUND_CEILING, Decimal
from typing import Any

from fleet.deploy.filter import Dropped, Failure, Sifted, hourly
from fleet.deploy.needs import Needs
from fleet.deploy.training import Estimate, Weigher
from fleet.deploy.wishes import Wishes
from fleet.offers.offer import ON_DEMAND, Offer
from fleet.offers.price import OVER

MOST = 40  # that are tried: lists are stale, but a list that is stale throughout is another trouble
OVER_FIRST = Decimal("1.25")  # of the first one's price, where nobody says --max-price
CENT = Decimal("0.01")


@dataclass(frozen=True, slots=True)
class Priced:
    """usd_hour: the whole machine with its disk, of an interruptible one with the bid; bid: None on demand."""

    offer: Offer
    usd_hour: Decimal
    disk_gb: int
    bid: Decimal | None = None
    estimate: Estimate | None = None
    pull_usd: Decimal = Decimal(0)  # of the image, once

    @property
    def dollars(self) -> float | None:
        """To finish, as planned."""
        return self.estimate.dollars.value if self.estimate and self.estimate.dollars else None

    @property
    def traffic_usd(self) -> Decimal:
        """What is paid for bytes, beside the hours: the plan's high end, else the image's pull. A price that was not
        told counts as 0."""
        planned = self.estimate.traffic if self.estimate else None
        if planned is None:
            return self.pull_usd
        return max(self.pull_usd, Decimal(str(round(planned.high or planned.value, 6))))

    def to_json(self) -> dict[str, Any]:
        """Plain values; money as text of a decimal number."""
        estimate = self.estimate
        finish = None
        if estimate is not None and estimate.hours is not None and estimate.dollars is not None:
            finish = {
                "steps": estimate.steps,
                "hours": [estimate.hours.low, estimate.hours.value, estimate.hours.high],
                "usd": [estimate.dollars.low, estimate.dollars.value, estimate.dollars.high],
            }
        return {
            **self.offer.to_json(),
            "usd_hour": str(self.usd_hour),
            "disk_asked_gb": self.disk_gb,
            "bid_usd_hour": None if self.bid is None else str(self.bid),
            "verdict": estimate.verdict if estimate else None,
            "to_finish": finish,
            "traffic_usd": str(self.traffic_usd),
        }


def rank(sifted: Sifted, needs: Needs, wishes: Wishes, weigher: Weigher | None) -> tuple[list[Priced], Sifted]:
    """The kept ones, best first, and `sifted` with those dropped besides that the training does not fit on."""
    priced: list[Priced] = []
    dropped: list[Dropped] = list(sifted.dropped)
    for offer in sifted.kept:
        one = price(offer, needs, wishes)
        if weigher is not None:
            gpus_only = one.bid if one.bid is not None else Decimal(str(offer.price * offer.count))
            estimate = weigher.estimate(offer, gpus_only)
            if failure := unfit(offer, estimate):
                dropped.append(Dropped(offer, (failure,)))
                continue
            one = replace(one, estimate=estimate)
        priced.append(one)
    priced.sort(key=order)
    return priced, Sifted(tuple(one.offer for one in priced), tuple(dropped))


def unfit(offer: Offer, estimate: Estimate) -> Failure | None:
    """Why the training does not end well there."""
    if estimate.verdict in ("refused", "impossible"):
        return Failure(
            "memory", f"the training does not fit: {estimate.why}", "another GPU or more of them: --gpu, --gpu-count"
        )
    if estimate.ram_bytes and offer.ram_gb is not None and estimate.ram_bytes > offer.ram_gb * 1e9:
        return Failure("RAM", f"{offer.ram_gb:,.0f} GB of RAM, {estimate.ram_bytes / 1e9:,.0f} GB are needed")
    hours = estimate.hours
    if hours is not None and offer.hours is not None and offer.hours < hours.value:
        return Failure("time on offer", f"on offer for {offer.hours:.0f} h more, the run takes {hours.value:.0f} h")
    return None


def price(offer: Offer, needs: Needs, wishes: Wishes) -> Priced:
    """What is paid for it. A bid shall hold for a while, so it is above the least, and below what the user allows."""
    whole, disk_gb = hourly(offer, needs), needs.disk_at(offer.provider)
    pull = Decimal(str(round(needs.pulled_gb * (offer.down_price or 0.0), 6)))
    if offer.kind == ON_DEMAND:
        return Priced(offer, whole, disk_gb, pull_usd=pull)
    least = Decimal(str(offer.price * offer.count))
    disk, bid = whole - least, least * Decimal(str(OVER))
    if wishes.usd_hour is not None:
        bid = max(least, min(bid, wishes.usd_hour - disk))
    return Priced(offer, bid + disk, disk_gb, bid, pull_usd=pull)


def order(one: Priced) -> tuple[bool, bool, float, Decimal, float, str, str]:
    """What surely fits first; then by dollars to finish where they are known, then by the hour, then by trust."""
    tight = one.estimate is not None and one.estimate.verdict != "fits"
    told = one.dollars
    trust = one.offer.reliability if one.offer.reliability is not None else 0.0
    return tight, told is None, told or 0.0, one.usd_hour, -trust, one.offer.provider, one.offer.id


def cap(ranked: list[Priced], wishes: Wishes) -> Decimal:
    """USD per hour above which no machine is taken or kept: as the user says, else a quarter over the first one's."""
    if wishes.usd_hour is not None:
        return wishes.usd_hour
    return (ranked[0].usd_hour * OVER_FIRST).quantize(CENT, ROUND_CEILING)


def shortlist(ranked: Iterable[Priced], most_usd_hour: Decimal) -> list[Priced]:
    """Those that are tried."""
    return [one for one in ranked if one.usd_hour <= most_usd_hour][:MOST]
