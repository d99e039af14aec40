"""What can be rented now for this run, from all providers at once, in the order in which it would be tried."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from fleet.clock import Clock
from fleet.deploy import everywhere
from fleet.deploy.candidates import Priced, rank
from fleet.deploy.filter import Sifted, sift, step, tightest
from fleet.deploy.needs import Needs
from fleet.deploy.training import Weigher
from fleet.deploy.wishes import Wishes
from fleet.offers.offer import Found, Question, told
from fleet.providers.provider import Provider
from fleet.providers.values import Balance
from profiles.errors import CheckFailed, OutsideFailed

COUNTS = (1, 2, 4, 8)


@dataclass(frozen=True, slots=True)
class Market:
    """ranked: best first; sifted: those that will not do; notes: what a reader should know; failures: by provider."""

    ranked: tuple[Priced, ...]
    sifted: Sifted
    notes: tuple[str, ...]
    failures: Mapping[str, str]

    def refuse_empty(self) -> None:
        """Raises CheckFailed naming the tight constraint when nothing will do, OutsideFailed when nobody answered."""
        if self.ranked:
            return
        if self.failures and not self.sifted.dropped:
            what, _, next_step = next(iter(self.failures.values())).partition("; ")
            raise OutsideFailed(f"no provider that answers has an offer: {what}", next_step)
        raise CheckFailed(f"no offer will do: {tightest(self.sifted)}", step(self.sifted))

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "offers": [one.to_json() for one in self.ranked],
            "dropped": [{**row.offer.to_json(), "why": row.why} for row in self.sifted.dropped],
            "notes": list(self.notes),
            "failures": dict(self.failures),
        }


def market(
    providers: Mapping[str, Provider],
    needs: Needs,
    wishes: Wishes,
    weigher: Weigher | None,
    clock: Clock,
    bad: Mapping[str, Collection[str]] | None = None,
    deadline: float = everywhere.DEADLINE,
) -> Market:
    """Asks for offers and credit, in parallel. Never raises for a provider that fails: the others' offers count.

    When nothing will do, everything is asked for once more, so that the answer can tell what stands in the way.
    """
    asked = question(needs, wishes)
    heard, credit = listen(providers, asked, clock, deadline)
    offers = [offer for found in heard.results.values() for offer in found.offers]
    ranked, sifted = rank(sift(offers, needs, wishes, bad, credit), needs, wishes, weigher)
    if not ranked and heard.results:
        wide = everywhere.ask(providers, lambda one: one.offers(wider(asked), seen(clock)), deadline)
        others = [offer for found in wide.results.values() for offer in found.offers]
        ranked, sifted = rank(sift(others, needs, wishes, bad, credit), needs, wishes, weigher)
    skipped = [row for found in heard.results.values() for row in found.skipped]
    return Market(tuple(ranked), sifted, tuple(told(skipped)), heard.failures)


def listen(
    providers: Mapping[str, Provider], asked: Question, clock: Clock, deadline: float
) -> tuple[everywhere.Heard[str, Found], dict[str, Decimal]]:
    """Offers and, beside them, what credit is left where it is told; an untold one is neither enough nor nothing."""
    calls: dict[str, Any] = {}
    for name, provider in providers.items():
        calls[name] = lambda one=provider: one.offers(asked, seen(clock))
        calls[f"credit at {name}"] = lambda one=provider: one.balance()
    heard = everywhere.each(calls, deadline)
    found = {name: answer for name, answer in heard.results.items() if isinstance(answer, Found)}
    told_credit = [answer for answer in heard.results.values() if isinstance(answer, Balance)]
    failures = {name: words for name, words in heard.failures.items() if name in providers}
    credit = {one.provider: one.usd for one in told_credit if one.usd is not None}
    return everywhere.Heard(found, failures), credit


def question(needs: Needs, wishes: Wishes) -> Question:
    """What to look for."""
    disk = max((needs.disk_at(name) for name in (*needs.hints, "")), default=needs.disk_gb)
    counts = (needs.count,) if needs.count else (1,)
    machine = needs.volume.machine if needs.volume is not None else ""
    return Question(needs.gpus, counts, wishes.spot, float(disk), wishes.min_reliability, machine)


def wider(asked: Question) -> Question:
    """Everything there is near it."""
    counts = tuple(sorted({*COUNTS, *asked.counts}))
    return replace(asked, gpus=(), counts=counts, spot=True, min_reliability=0.0, machine="")


def seen(clock: Clock) -> str:
    """The time of a list."""
    return clock.now().isoformat(timespec="seconds")
