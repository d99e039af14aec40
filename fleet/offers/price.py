"""A price per GPU-hour with where it comes from: from offers, or from what the user says."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from statistics import median

from fleet.capacity.figure import Figure
from fleet.offers.offer import INTERRUPTIBLE, MOST_PRICE, ON_DEMAND, Offer
from profiles import gpus
from profiles.errors import WrongInput

UNIT = "USD/GPU-hour"
OVER = 1.1  # a bid that shall hold for a while over the least one that is taken: assumed, nobody publishes winning bids
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


def price(offers: Sequence[Offer], gpu: str, count: int, kinds: Sequence[str] = (ON_DEMAND,)) -> Figure | None:
    """The cheapest USD per GPU-hour of `count` x `gpu`; high: the median, since the cheapest may be gone when it is
    rented. None without an offer.

    Of interruptible offers the price told is the least bid, and who bids just that is outbid by the next: the value is
    their median, at least OVER x the lowest, which is the low end. When nobody offers that count in one machine, prices
    of other counts stand in for it, and the source says so.
    """
    listed = standing(offers, gpu, count, kinds)
    if not listed:
        return None
    values = sorted(offer.price for offer in listed)
    if any(offer.kind == INTERRUPTIBLE for offer in listed):
        value = max(median(values), OVER * values[0])
        high, words = max(value, values[-1]), f"{bid(values, value)}, least bid {values[0]:.2f}"
    else:
        value, high, words = values[0], median(values), f"cheapest {values[0]:.2f}"
    return Figure(value, UNIT, source(listed, words, count), values[0], high)


def bid(values: Sequence[float], value: float) -> str:
    """What decided a bid: 'median of the least bids 2.10'. values: the least bids."""
    how = "median of the least bids" if value == median(values) else f"a bid of {OVER:g} x the least"
    return f"{how} {value:.2f}"


def priced_by(offers: Sequence[Offer], gpu: str, count: int, kinds: Sequence[str] = (ON_DEMAND,)) -> Offer | None:
    """The offer whose price is `price`'s, or the nearest to it: its storage and traffic go with that price."""
    found = price(offers, gpu, count, kinds)
    if found is None:
        return None
    return min(standing(offers, gpu, count, kinds), key=lambda offer: abs(offer.price - found.value))


def standing(offers: Sequence[Offer], gpu: str, count: int, kinds: Sequence[str]) -> list[Offer]:
    """The offers of `count` x `gpu`; without one, of other counts."""
    named = [offer for offer in offers if offer.gpu == gpu and offer.kind in kinds]
    return [offer for offer in named if offer.count == count] or named


def roomy(offers: Sequence[Offer], disk_gb: float) -> list[Offer]:
    """Those whose disk can hold `disk_gb`, and those that do not tell its size."""
    return [offer for offer in offers if offer.disk_gb is None or offer.disk_gb >= disk_gb]


def source(listed: Sequence[Offer], words: str, count: int) -> str:
    """'vast, 12 offers, cheapest 1.87, seen 14:02'; times as in the list, with the date when they differ."""
    providers = ", ".join(sorted({offer.provider for offer in listed}))
    many = f"{len(listed)} offer{'s' if len(listed) != 1 else ''}"
    counts = sorted({offer.count for offer in listed})
    other = "" if counts == [count] else f" of {', '.join(map(str, counts))} GPUs (none of {count})"
    return f"{providers}, {many}{other}, {words}, seen {clock([offer.seen for offer in listed])}"


def clock(seen: Sequence[str]) -> str:
    """'14:02', the earliest; with its date when the lists are of more than one day."""
    times = sorted(map(datetime.fromisoformat, seen))
    first, last = times[0], times[-1]
    return f"{first:%H:%M}" if first.date() == last.date() else f"{first:%Y-%m-%d %H:%M}"
