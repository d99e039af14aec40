"""`GET /api/v0/charges/` and `GET /api/v1/invoices/`: what was spent, by the meters (providers.md 2.11)."""

from __future__ import annotations

import base64
from decimal import Decimal
from typing import Any

from fleet.simulators.clock import SECOND
from fleet.simulators.machine import Machine
from fleet.simulators.meter import Meter
from fleet.simulators.site import Site
from fleet.simulators.vast import prices
from fleet.simulators.vast.answers import both, owner_of
from fleet.simulators.vast.contract import contract_of
from fleet.simulators.vast.house import House
from fleet.simulators.vast.listing import read
from fleet.simulators.vast.queries import number
from fleet.simulators.vast.refusals import refused
from fleet.simulators.wire import Reply, Request

MOST, USUAL = 500, 100


def open_charges(site: Site, house: House) -> None:
    """Registers the routes."""

    @both(site, "GET", "/api/v0/charges")
    def charges(request: Request) -> Reply:
        query = request.query
        filters = read(query, "select_filters", {})
        day = filters.get("day")
        bounds = [number(day.get(name)) for name in ("gte", "lte")] if isinstance(day, dict) else [None]
        if None in bounds:
            raise refused(400, None, "Must provide both 'day' gte and lte filters for instance charges")
        since, until = (round(float(each or 0) * SECOND) for each in bounds)
        kinds = (filters.get("type") or {}).get("in") or ["instance"]
        rows = []
        if "instance" in kinds:
            own = [each for each in house.world.machines.values() if contract_of(each).owner == owner_of(request)]
            rows = [made for each in own if (made := instance(house, each, since, until))]
        if "volume" in kinds:
            rows += volumes(house, owner_of(request), since, until)
        return Reply(200, pages(rows, query))

    @both(site, "GET", "/api/v1/invoices")
    def invoices(request: Request) -> Reply:
        return Reply(200, {"success": True, "count": 0, "total": 0, "next_token": None, "results": []})


def instance(house: House, machine: Machine, since: int, until: int) -> dict[str, Any] | None:
    """One instance's charges in that time."""
    return charge(house, f"instance-{machine.id}", "instance", machine.meter, machine.made, since, until, machine.tag)


def volumes(house: House, owner: int, since: int, until: int) -> list[dict[str, Any]]:
    found = (
        charge(house, f"volume-{one.id}", "volume", one.meter, round(one.born * SECOND), since, until, one.name)
        for one in house.volumes.values()
        if one.owner == owner
    )
    return [each for each in found if each]


def charge(
    house: House, source: str, kind: str, meter: Meter, made: int, since: int, until: int, label: str
) -> dict[str, Any] | None:
    """A row and its items, or None when nothing was billed. Times are whole epoch seconds."""
    end = min(until, house.world.now)
    parts = meter.between(max(since, 0), end)
    if not parts:
        return None
    bounds = {"start": max(since, made) // SECOND, "end": end // SECOND}
    words = f"{source.replace('-', ' ').capitalize()} Charges"
    items: list[dict[str, Any]] = [
        {
            **bounds,
            "type": name,
            "source": None,
            "description": name,
            "amount": prices.shown(usd),
            "metadata": {},
            "items": [],
        }
        for name, usd in sorted(parts.items())
    ]
    whole = prices.shown(sum(parts.values(), Decimal(0)))
    head = {**bounds, "type": kind, "source": source, "description": words, "amount": whole}
    return {**head, "metadata": {"label": label}, "items": items}


def pages(rows: list[dict[str, Any]], query: dict[str, str]) -> dict[str, Any]:
    """One page of at most `limit` rows. Raises Refused for a token that is none."""
    limit = number(query.get("limit", USUAL))
    size = max(1, min(int(limit or USUAL), MOST))
    if query.get("latest_first", "true").lower() == "true":
        rows = sorted(rows, key=lambda row: -row["start"])
    start = 0
    if query.get("after_token"):
        try:
            start = int(base64.b64decode(query["after_token"], validate=True))
        except ValueError:
            raise refused(400, "invalid_token", "Invalid pagination token") from None
    shown = rows[start : start + size]
    more = start + size < len(rows)
    token = base64.b64encode(str(start + size).encode()).decode() if more else None
    return {"success": True, "count": len(shown), "total": len(rows), "next_token": token, "results": shown}
