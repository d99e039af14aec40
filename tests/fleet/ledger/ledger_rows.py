"""Rows that the tests of the ledger put in."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from fleet.ledger import tags
from fleet.ledger.ledger import Ledger
from fleet.ledger.values import Run, Wish
from fleet.offers.offer import ON_DEMAND, Offer
from fleet.providers.values import Instance, State

OFFER = Offer("vast", "h100-sxm", 1, 2.0, ON_DEMAND, "77", "2026-11-21T10:00:00+00:00", machine="host-7")


def wished(ledger: Ledger, run: str = "night") -> Wish:
    """A run and its wish."""
    ledger.add_run(Run(run))
    return ledger.wish(run, "deploy")


def sent(ledger: Ledger, wish: Wish, usd_hour: str = "2", most: str = "5") -> str:
    """The tag of an attempt whose request has left."""
    tag = tags.fresh(ledger.id, wish.run)
    ledger.intend(wish, tag, "vast", OFFER, Decimal(usd_hour), Decimal(most), "d")
    ledger.sent(tag)
    return tag


def machine(tag: str, id: str = "1", usd_hour: str | None = "2", **more: Any) -> Instance:
    """A running machine as it is listed."""
    price = None if usd_hour is None else Decimal(usd_hour)
    return Instance("vast", id, tag, **{"state": State.RUNNING, "usd_hour": price, **more})
