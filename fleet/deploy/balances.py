"""What is left to spend, everywhere."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from fleet.deploy import everywhere
from fleet.providers.provider import Provider
from fleet.providers.values import Balance


def balances(providers: Mapping[str, Provider]) -> list[dict[str, Any]]:
    """A row for each provider, in their order; what is not told is "unknown", neither enough nor nothing."""
    heard: everywhere.Heard[str, Balance] = everywhere.ask(providers, lambda one: one.balance())
    found: list[dict[str, Any]] = []
    for name in providers:
        if name in heard.failures:
            silent = {"provider": name, "usd": None, "usd_hour": None, "hours": None}
            found.append({**silent, "failed": True, "words": heard.failures[name]})
            continue
        one = heard.results[name]
        found.append(
            {
                "provider": name,
                "usd": text(one.usd),
                "usd_hour": text(one.usd_hour),
                "hours": lasts(one),
                "failed": False,
                "words": one.words,
            }
        )
    return found


def lasts(balance: Balance) -> str | None:
    """For how many hours it lasts at what is spent now; None when either is not told or nothing is spent."""
    if balance.usd is None or not balance.usd_hour or balance.usd_hour <= 0:
        return None
    return f"{max(Decimal(0), balance.usd) / balance.usd_hour:.1f}"


def text(value: Decimal | None) -> str | None:
    """To the cent."""
    return None if value is None else f"{value:.2f}"
