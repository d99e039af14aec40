"""Storage that outlives machines: it bills until somebody deletes it, whether anything runs or not (providers.md 1.12,
2.10)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from fleet.deploy import everywhere
from fleet.providers.outcomes import Unable
from fleet.providers.provider import Provider
from fleet.providers.values import Volume


@dataclass(frozen=True, slots=True)
class Stored:
    """What bills at one provider. gb, usd_month: all volumes together, None when one of them does not tell."""

    provider: str
    count: int
    gb: int | None
    usd_month: Decimal | None

    @property
    def words(self) -> str:
        """'2 volumes, 300 GB, 21.00 USD/month'."""
        size = "a size it does not tell" if self.gb is None else f"{self.gb:,} GB"
        price = "at a price it does not tell" if self.usd_month is None else f"{self.usd_month:.2f} USD/month"
        return f"{self.count} volume{'s' if self.count > 1 else ''}, {size}, {price}"


@dataclass(frozen=True, slots=True)
class Storage:
    """rows: providers where storage bills; failures: of providers about which nothing is known."""

    rows: tuple[Stored, ...] = ()
    failures: Mapping[str, str] = field(default_factory=dict)

    def lines(self) -> list[str]:
        """A line for each provider."""
        told = [f"{row.provider}: storage bills on by itself: {row.words}; its console deletes it" for row in self.rows]
        return told + [f"{name}: what storage bills is not known: {why}" for name, why in self.failures.items()]

    def to_json(self) -> list[dict[str, Any]]:
        """Plain values; money as text of a decimal number. failed None: it was told."""
        told: list[dict[str, Any]] = [
            {
                "provider": row.provider,
                "volumes": row.count,
                "gb": row.gb,
                "usd_month": None if row.usd_month is None else f"{row.usd_month:f}",
                "failed": None,
            }
            for row in self.rows
        ]
        return told + [
            {"provider": name, "volumes": None, "gb": None, "usd_month": None, "failed": why}
            for name, why in self.failures.items()
        ]


def storage(
    providers: Mapping[str, Provider], silent: Mapping[str, str], deadline: float = everywhere.DEADLINE
) -> Storage:
    """Asks every provider at once; deadline: seconds in all. One without volumes has none; never raises for one.

    silent: why those gave no answer just now that are not asked again, so that they cost no second wait.
    """
    asked = {name: one for name, one in providers.items() if name not in silent}
    heard: everywhere.Heard[str, Sequence[Volume]] = everywhere.ask(asked, volumes, deadline)
    rows = (stored(name, found) for name, found in heard.results.items())
    return Storage(tuple(row for row in rows if row is not None), {**silent, **heard.failures})


def volumes(provider: Provider) -> Sequence[Volume]:
    """Those that bill: a price of nothing is this machine's own disk."""
    try:
        return [one for one in provider.volumes() if one.usd_month is None or one.usd_month]
    except Unable:
        return ()


def stored(provider: str, found: Sequence[Volume]) -> Stored | None:
    """All volumes of one provider, None when there is none. A size of 0 is one that was not told."""
    if not found:
        return None
    prices = [one.usd_month for one in found if one.usd_month is not None]
    return Stored(
        provider,
        len(found),
        sum(one.gb for one in found) if all(one.gb for one in found) else None,
        sum(prices, Decimal(0)) if len(prices) == len(found) else None,
    )
