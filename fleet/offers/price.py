"""A price per GPU-hour with where it comes from: from offers, or from what the user says."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from statistics import median

from fleet.capacity.figure import Figure
from fleet.offers.offer import MOST_PRICE, ON_DEMAND, Offer
from profiles import gpus
from profiles.errors import WrongInput

UNIT = "USD/GPU-hour"
EXAMPLE = "write --price 2.49, or --price h100-sxm=2.49,a100-80-sxm=1.5 (USD per GPU-hour)"


@dataclass(frozen=True, slots=True)
class Prices:
    """What `--price` said. every: for all GPUs that have none of their own."""

    every: float | None = None
    own: dict[str, float] = field(default_factory=dict)

    def price(self, gpu: str) -> Figure | None:
        """USD per GPU-hour of `gpu`, None when nothing was said about it."""
        value = self.own.get(gpu, self.every)
        return (
            None
            if value is None
            else Figure(value, UNIT, f"--price {gpu}={value:g}" if gpu in self.own else f"--price {value:g}")
        )


def typed(text: str) -> Prices:
    """'2.49', 'h100-sxm=2.49,a100-80-sxm=1.5', or both kinds. Raises WrongInput, naming the nearest GPU."""
    every: float | None = None
    own: dict[str, float] = {}
    for part in (part.strip() for part in text.split(",")):
        name, equals, number = part.partition("=")
        if not equals:
            if every is not None:
                raise WrongInput(f"--price {text}: two prices for every GPU", f"{EXAMPLE}; decimals have a point")
            every = amount(part, text)
            continue
        key = gpus.gpu(name.strip()).key
        if key in own:
            raise WrongInput(f"--price {text}: two prices for {key}", EXAMPLE)
        own[key] = amount(number, text)
    return Prices(every, own)


def amount(word: str, text: str) -> float:
    """A price above 0 and at most 1000. Raises WrongInput."""
    try:
        value = float(word.strip())
    except ValueError:
        raise WrongInput(f"--price {text}: `{word.strip()}` is no number", EXAMPLE) from None
    if not math.isfinite(value) or value <= 0:
        raise WrongInput(f"--price {text}: a price is above 0", EXAMPLE)
    if value > MOST_PRICE:
        raise WrongInput(
            f"--price {text}: more than {MOST_PRICE:.0f} USD per GPU-hour",
            f"{EXAMPLE}; is it cents, or for the whole machine?",
        )
    return value


def price(
    offers: Sequence[Offer], gpu: str, count: int, kinds: Sequence[str] = (ON_DEMAND,), middle: bool = False
) -> Figure | None:
    """The cheapest (or `middle`: the median) USD per GPU-hour of `count` x `gpu`; low: the cheapest, high: the median,
    since the cheapest may be gone when it is rented (the middle one: to the dearest). None without an offer.

    When nobody offers that count in one machine, prices of other counts stand in for it, and the source says so.
    """
    named = [offer for offer in offers if offer.gpu == gpu and offer.kind in kinds]
    exact = [offer for offer in named if offer.count == count]
    listed = exact or named
    if not listed:
        return None
    values = sorted(offer.price for offer in listed)
    value, high = (median(values), values[-1]) if middle else (values[0], median(values))
    return Figure(
        value,
        UNIT,
        source(listed, "median" if middle else "cheapest", value, None if exact else count),
        values[0],
        high,
    )


def table(offers: Sequence[Offer], kinds: Sequence[str] = (ON_DEMAND,)) -> dict[tuple[str, int], Figure]:
    """`price` of every (GPU, count) that is offered."""
    there = sorted({(offer.gpu, offer.count) for offer in offers if offer.kind in kinds})
    found = {pair: price(offers, *pair, kinds=kinds) for pair in there}
    return {pair: figure for pair, figure in found.items() if figure is not None}


def source(listed: Sequence[Offer], word: str, value: float, instead_of: int | None) -> str:
    """'vast, 12 offers, cheapest 1.87, seen 14:02'; times as in the list, with the date when they differ."""
    providers = ", ".join(sorted({offer.provider for offer in listed}))
    many = f"{len(listed)} offer{'s' if len(listed) != 1 else ''}"
    counts = ", ".join(map(str, sorted({offer.count for offer in listed})))
    other = "" if instead_of is None else f" of {counts} GPUs (none of {instead_of})"
    return f"{providers}, {many}{other}, {word} {value:.2f}, seen {clock([offer.seen for offer in listed])}"


def clock(seen: Sequence[str]) -> str:
    """'14:02', the earliest; with its date when the lists are of more than one day."""
    times = sorted(map(datetime.fromisoformat, seen))
    first, last = times[0], times[-1]
    return f"{first:%H:%M}" if first.date() == last.date() else f"{first:%Y-%m-%d %H:%M}"
