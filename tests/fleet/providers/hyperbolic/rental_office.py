"""What Hyperbolic's third API answers, written from providers.md 3.4-3.6."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from fleet.offers.offer import ON_DEMAND, Offer
from fleet.providers.values import Order
from tests.fleet.offers.market import Market, Reply, Seen, needs_key, reply
from tests.fleet.providers.hosts.rented_machine import container

RENTALS = "/v2/on-demand/virtual-machine-rentals"
TAG = "stk-ab12-gpt-x7k2m9qp"


def order(tag: str = TAG, **changed: Any) -> Order:
    parts = {
        "provider": "hyperbolic",
        "gpu": "h100-pcie",
        "count": 1,
        "price": 2.75,
        "kind": ON_DEMAND,
        "id": "h100/ca-east-1/1/virtual-machine/ethernet/pcie/normal",
        "seen": "2026-11-20T10:00:00+00:00",
        "region": "ca-east-1",
        **changed,
    }
    return Order(tag, Offer(**parts), container(), Decimal(3))


def row(id: int, **changed: Any) -> dict[str, Any]:
    """A running rental."""
    return {
        "id": id,
        "status": "Running",
        "gpuType": "h100",
        "gpuCount": 1,
        "region": "ca-east-1",
        "label": TAG,
        "createdAt": "2026-11-20 10:00:00.123+00",
        "startedAt": "2026-11-20 10:02:20+00",
        "currentTerm": {"costPerHourCents": 275},
        "providerData": {"sshNetworking": [{"host": "203.0.113.77", "port": 22, "user": "ubuntu"}]},
        **changed,
    }


class Office:
    """Rents what it is asked for. echo: whether the label comes back; then: what a create answers instead, after the
    machine was made when `made` is set."""

    market: Market

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.echo, self.made = True, True
        self.then: Reply | None = None
        self.balance: Any = {"balanceCents": 2500, "maxOverdraftCents": 0}

    @property
    def creates(self) -> list[Seen]:
        return [seen for seen in self.market.seen if (seen.method, seen.path) == ("POST", RENTALS)]

    def rules(self, seen: Seen) -> str | None:
        if not seen.path.startswith("/v2/"):
            return f"another generation: {seen.path}"
        if seen.method == "POST" and seen.path == RENTALS:
            wanted = {"gpuType", "region", "gpuCount", "networkType", "termType", "label"}
            return None if set(seen.body) == wanted else f"fields {set(seen.body) ^ wanted}"
        if seen.path == f"{RENTALS}/terminate" and set(seen.body) - {"reason"} != {"rentalId"}:
            return f"terminate with {seen.body}"
        return None

    def answer(self, seen: Seen) -> Reply:
        refused = needs_key(seen, 401, {"message": "Unauthorized (wording invented)"})
        if refused:
            return refused
        if seen.path == "/v2/customer/balance":
            return reply(self.balance)
        if seen.path == f"{RENTALS}/terminate":
            there = [each for each in self.rows if each["id"] == seen.body["rentalId"]]
            self.rows = [each for each in self.rows if each not in there]
            done = {"message": "Rental successfully terminated", "rentalId": seen.body["rentalId"]}
            return reply(done) if there else reply({"message": "Rental not found (wording invented)"}, 404)
        if seen.method == "GET":
            return reply(self.rows)
        made = self.create(seen.body) if self.then is None or self.made else None
        return self.then or reply(made)

    def create(self, body: dict[str, Any]) -> dict[str, Any]:
        named = {"label": body["label"]} if self.echo else {"name": "soft-apricot-ladybug"}
        made = row(48213 + len(self.rows), status="Pending", startedAt=None, providerData={"sshNetworking": []})
        del made["label"]
        made |= {name: body[name] for name in ("gpuType", "gpuCount", "region")} | named
        self.rows.append(made)
        return made
