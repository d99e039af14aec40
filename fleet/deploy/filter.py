"""Which offers will do, each of the others with the reason why not, and what stands in the way when none is left."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from fleet.deploy.needs import Needs
from fleet.deploy.volume import why_not
from fleet.deploy.wishes import Wishes
from fleet.offers.offer import ON_DEMAND, Offer
from profiles import bases, gpus

LEAST = 1e-9
OLDER = "build the image on an older base (./inv build --base-tag), or ask others: --provider any"


@dataclass(frozen=True, slots=True)
class Failure:
    """One constraint that an offer does not meet. limit: its name; words: with the offer's own figure; relax: what to
    change so that such an offer passes, "" when nothing the user can type would do."""

    limit: str
    words: str
    relax: str = ""


@dataclass(frozen=True, slots=True)
class Dropped:
    """An offer and all that speaks against it, the weightiest first."""

    offer: Offer
    failures: tuple[Failure, ...]

    @property
    def why(self) -> str:
        """The one reason that is shown."""
        return self.failures[0].words


@dataclass(frozen=True, slots=True)
class Sifted:
    """kept, in no order; dropped."""

    kept: tuple[Offer, ...]
    dropped: tuple[Dropped, ...]


def sift(
    offers: Iterable[Offer],
    needs: Needs,
    wishes: Wishes,
    bad: Mapping[str, Collection[str]] | None = None,
    credit: Mapping[str, Decimal] | None = None,
) -> Sifted:
    """bad: machines that failed before, by provider; credit: USD that are left, by provider, where it tells."""
    kept, dropped = [], []
    for offer in offers:
        failures = tuple(_failures(offer, needs, wishes, bad or {}, credit or {}))
        if failures:
            dropped.append(Dropped(offer, failures))
        else:
            kept.append(offer)
    return Sifted(tuple(kept), tuple(dropped))


def hourly(offer: Offer, needs: Needs) -> Decimal:
    """USD per hour of the whole machine, disk included; of an interruptible one at the least bid that is taken."""
    return Decimal(str(round(offer.per_hour(needs.disk_at(offer.provider)), 6)))


def _failures(
    offer: Offer, needs: Needs, wishes: Wishes, bad: Mapping[str, Collection[str]], credit: Mapping[str, Decimal]
) -> Iterator[Failure]:
    yield from _hardware(offer, needs)
    yield from _driver(offer, needs)
    yield from _room(offer, needs)
    if offer.machine and offer.machine in bad.get(offer.provider, ()):
        yield Failure("bad machine", f"machine {offer.machine} failed here before")
    left, cost = credit.get(offer.provider), hourly(offer, needs)
    if left is not None and left < cost:  # RunPod refuses below one hour (providers.md 4.1); elsewhere it ends early
        yield Failure("credit", credit_words(left, cost), f"add credit at {offer.provider}")
    yield from _wanted(offer, needs, wishes)


def credit_words(left: Decimal, cost: Decimal) -> str:
    """What is left beside what an hour costs, USD; a debt of less than a cent is no -0.00."""
    return f"{round(left, 2) + 0:.2f} USD of credit are left there, an hour costs {cost:.2f}"


def _hardware(offer: Offer, needs: Needs) -> Iterator[Failure]:
    if not needs.gpus:
        return
    if offer.gpu not in needs.gpus:
        # no step: whether the image's precision runs there is not known here
        yield Failure("GPU", f"{offer.gpu}, not {' or '.join(needs.gpus[:3])}")
    elif gpus.gpu(offer.gpu).memory_mib < needs.vram_mib:
        yield Failure("memory", f"{gpus.gpu(offer.gpu).memory_gb} GB a GPU, {needs.vram_mib / 1024:.0f} GiB are needed")
    if offer.count != needs.count:
        yield Failure("GPU count", f"{offer.count} GPUs, not {needs.count}", f"--gpu-count {offer.count}")
    if needs.nvlink and offer.nvlink_gbs == 0 and gpus.gpu(offer.gpu).nvlink_gbs:
        yield Failure("NVLink", "its GPUs are not joined by NVLink")


def _driver(offer: Offer, needs: Needs) -> Iterator[Failure]:
    """By the driver's version where it is told, else by the newest CUDA it takes; unknown passes, and is read later."""
    floor = needs.floors.get(offer.gpu)
    if offer.driver and bases.numbers(offer.driver):
        if floor is not None and not floor.accepts(offer.driver):
            yield Failure("driver", f"driver {offer.driver}, the image's base needs {floor}", OLDER)
    elif offer.cuda and needs.cuda and not bases.at_least(offer.cuda, needs.cuda):
        words = f"its driver takes CUDA {offer.cuda}, the image's base needs {needs.cuda}"
        yield Failure("driver", words, OLDER)


def _room(offer: Offer, needs: Needs) -> Iterator[Failure]:
    if why := why_not(needs.volume, offer.provider, offer.region, offer.machine, offer.tier):
        yield Failure("volume", why)
    disk = needs.disk_at(offer.provider)
    if offer.disk_gb is not None and offer.disk_gb + LEAST < disk:
        yield Failure("disk", f"{offer.disk_gb:,.0f} GB of disk, {disk:,} GB are needed")
    if offer.ram_gb is not None and offer.ram_gb + LEAST < needs.ram_gb:
        yield Failure("RAM", f"{offer.ram_gb:,.0f} GB of RAM, {needs.ram_gb:,.0f} GB are needed")
    if offer.stock == "0":
        yield Failure("stock", "none is free now", "ask again later")


def _wanted(offer: Offer, needs: Needs, wishes: Wishes) -> Iterator[Failure]:
    if wishes.providers and offer.provider not in wishes.providers:
        yield Failure("provider", f"at {offer.provider}", f"--provider {offer.provider}")
    if not wishes.spot and offer.kind != ON_DEMAND:
        yield Failure("kind", f"{offer.kind}, can be taken away", "--spot")
    if wishes.regions and not in_region(offer, wishes.regions):
        place = offer.region
        yield Failure("region", f"in {place or 'a region it does not tell'}", f"--region {place}" if place else "")
    least = wishes.min_reliability
    if offer.reliability is not None and offer.reliability < least:
        told = f"{offer.reliability:.3f}"
        yield Failure(
            "reliability", f"reliability {told}, at least {least:g} is asked for", f"--min-reliability {told}"
        )
    cost = hourly(offer, needs)
    if wishes.usd_hour is not None and cost > wishes.usd_hour:
        words = f"{cost:.2f} USD/h with its disk, above {wishes.usd_hour:.2f}"
        yield Failure("price", words, f"--max-price {up(cost)}")


def in_region(offer: Offer, regions: Sequence[str]) -> bool:
    """Whether an offer lies in one of these: the whole word, or its beginning up to a dash (US for US-KS-2)."""
    place = offer.region.upper()
    return any(place == one.upper() or place.startswith(f"{one.upper()}-") for one in regions)


def up(value: Decimal) -> Decimal:
    """To the cent, upwards."""
    return (value * 100).to_integral_value(rounding="ROUND_CEILING") / 100


def without_spot(wishes: Wishes, lacks: Mapping[str, Mapping[str, str]]) -> list[str]:
    """A line for each provider that has no interruptible machines, when those are asked for. lacks: by provider."""
    if not wishes.spot:
        return []
    return [f"--spot: {name} has none: {words['spot']}" for name, words in lacks.items() if "spot" in words]


def tightest(sifted: Sifted) -> str:
    """Which constraint stands in the way when nothing is left, by the offer that is nearest to passing; one line."""
    best = nearest(sifted)
    if best is None:
        return "no provider has any offer"
    names = [failure.limit for failure in best.failures]
    limit = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
    said = "; ".join(failure.words for failure in best.failures)
    constraint = "constraint is" if len(names) == 1 else "constraints are"
    return f"the tight {constraint} the {limit}: nearest is {told(best.offer)} ({said})"


def step(sifted: Sifted) -> str:
    """What to type so that the nearest offer passes."""
    best = nearest(sifted)
    if best is None:
        return "ask again later, or name other GPUs: --gpu TYPE"
    typed = [failure.relax for failure in best.failures if failure.relax]
    if len(typed) < len(best.failures):
        return "another GPU (--gpu TYPE, --any-gpu), more providers (--provider any), or ask again later"
    return " ".join(typed)


def nearest(sifted: Sifted) -> Dropped | None:
    """The dropped offer that the least has to give way for: what one can type first, another machine last."""
    return min(sifted.dropped, key=lambda row: (distance(row), row.offer.price * row.offer.count), default=None)


def distance(row: Dropped) -> int:
    """How far an offer is from passing."""
    far = {"GPU": 1000, "driver": 50, "GPU count": 10}
    return sum(far.get(failure.limit, 1 if failure.relax else 100) for failure in row.failures)


def told(offer: Offer) -> str:
    """'8 x h100-sxm at vast, SE, 15.92 USD/h'."""
    place = f", {offer.region}" if offer.region else ""
    return f"{offer.count} x {offer.gpu} at {offer.provider}{place}, {offer.price * offer.count:.2f} USD/h"
