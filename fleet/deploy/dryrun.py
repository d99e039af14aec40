"""What a deployment would send, to the byte, secrets masked; nothing is created and nothing is kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from fleet.deploy.deployment import Deployment
from fleet.ledger.tags import Tag, short
from fleet.providers.masked import masked
from fleet.providers.provider import Provider
from fleet.providers.values import Order, Shown


def tag_of(run: str, ledger: str = "0000") -> str:
    """A tag of the form that would be sent; its random part is drawn when it is."""
    return str(Tag(ledger, short(run), "x" * 8))


def requests(deployment: Deployment, providers: Mapping[str, Provider], now: datetime) -> list[Shown]:
    """Of the first machine of each provider, in the order in which they would be tried."""
    shown: list[Shown] = []
    told: set[str] = set()
    for one in deployment.tried:
        name = one.offer.provider
        if name in told:
            continue
        told.add(name)
        container = deployment.recipe.on(one, now)
        order = Order(tag_of(deployment.name), one.offer, container, deployment.usd_hour, one.bid)
        shown += providers[name].shown(container, order)
    return shown


def rows(shown: Sequence[Shown], values: Mapping[str, str], login: str = "") -> list[dict[str, Any]]:
    """As plain values. values, login: secrets that a client should have masked, masked here once more: what is printed
    is copied into tickets."""
    hidden = [value for value in (*values.values(), login) if len(value) >= 4]
    return [
        masked(
            {"provider": one.provider, "method": one.method, "path": one.path, "body": one.body, "note": one.note},
            hidden,
        )
        for one in shown
    ]
