"""What providers billed for a run's machines, beside what was counted here: two books that should agree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any

from fleet.clock import Clock
from fleet.deploy import everywhere
from fleet.ledger.values import Known
from fleet.providers.bills import Billed, Bills
from fleet.providers.provider import Provider

if TYPE_CHECKING:
    from fleet.ledger.ledger import Ledger

OVER = Decimal("1.05")  # billed above counted by more than this is told
LEAST = Decimal("0.01")  # USD: below it rounding speaks
BEFORE = timedelta(minutes=10)  # a bill may begin before the machine was first seen


@dataclass(frozen=True, slots=True)
class Bill:
    """One machine. billed None: not yet, or `why` it is not known; counted: USD by the ledger, without traffic."""

    run: str
    provider: str
    id: str
    counted: Decimal
    billed: Billed | None = None
    why: str = ""

    @property
    def above(self) -> bool:
        """Whether more was billed for its hours than was counted, by more than a twentieth."""
        return self.hourly is not None and self.hourly > self.counted * OVER + LEAST

    @property
    def hourly(self) -> Decimal | None:
        """Billed without the traffic."""
        return None if self.billed is None else self.billed.usd - self.billed.traffic_usd

    @property
    def words(self) -> str:
        """'vast 20118481: billed by vast 1.23 USD (0.03 of it traffic), counted 1.20 USD'."""
        head = f"{self.provider} {self.id}"
        if self.billed is None:
            late = f"{self.provider} has billed nothing yet: its bill comes later"
            return f"{head}: {self.why or late}; counted {self.counted:.2f} USD"
        traffic = f" ({self.billed.traffic_usd:.2f} of it traffic)" if self.billed.traffic_usd >= LEAST else ""
        said = f"{head}: billed by {self.provider} {self.billed.usd:.2f} USD{traffic}, counted {self.counted:.2f} USD"
        return f"{said}: more than was counted; its console has the whole bill" if self.above else said

    def to_json(self) -> dict[str, Any]:
        """Plain values; money as text of a decimal number."""
        return {
            "run": self.run or None,
            "provider": self.provider,
            "id": self.id,
            "counted_usd": f"{self.counted:f}",
            "billed_usd": None if self.billed is None else f"{self.billed.usd:f}",
            "traffic_usd": None if self.billed is None else f"{self.billed.traffic_usd:f}",
            "above": self.above,
            "failed": self.why or None,
        }


def bills(
    ledger: Ledger,
    runs: Sequence[str],
    providers: Mapping[str, Provider],
    clock: Clock,
    deadline: float = everywhere.DEADLINE,
) -> list[Bill]:
    """Of every machine that these runs ever had, at providers that tell; all providers at once, `deadline` seconds of
    the wall's clock in all. Never raises for one that does not answer."""
    known = [one for run in runs for one in ledger.known(run) if isinstance(providers.get(one.provider), Bills)]
    asked = {
        name: partial(of_one, providers[name], [one for one in known if one.provider == name], clock)
        for name in dict.fromkeys(one.provider for one in known)
    }
    heard: everywhere.Heard[str, dict[str, Billed | None]] = everywhere.each(asked, deadline)
    return [
        Bill(
            one.run,
            one.provider,
            one.id,
            ledger.instance_cost(one.provider, one.id),
            heard.results.get(one.provider, {}).get(one.id),
            f"its bill is not known: {heard.failures[one.provider]}" if one.provider in heard.failures else "",
        )
        for one in known
    ]


def of_one(provider: Provider, known: Sequence[Known], clock: Clock) -> dict[str, Billed | None]:
    """What one provider says of its machines, one request after the other."""
    assert isinstance(provider, Bills)
    now = clock.now()
    return {one.id: provider.billed(one.id, one.first - BEFORE, max(one.ended or now, one.first)) for one in known}
