"""`GET /api/v1/instances/` and `GET /api/v0/instances/{id}/` (providers.md 2.6)."""

from __future__ import annotations

import base64
import json
from collections import Counter
from typing import Any

from fleet.simulators.machine import Machine
from fleet.simulators.site import Site
from fleet.simulators.vast.answers import both, owner_of
from fleet.simulators.vast.contract import contract_of
from fleet.simulators.vast.house import House
from fleet.simulators.vast.queries import BadQuery, accepts, checked, in_order, number
from fleet.simulators.vast.refusals import refused
from fleet.simulators.vast.rows import STORED, row
from fleet.simulators.wire import Reply, Request

MOST, FEW = 25, 5


def open_listing(site: Site, house: House) -> None:
    """Registers the routes."""

    @both(site, "GET", "/api/v1/instances")
    def listed(request: Request) -> Reply:
        return Reply(200, page(house, owner_of(request), request.query))

    @both(site, "GET", "/api/v0/instances/{id}")
    def show(request: Request) -> Reply:
        if house.world.faults.take("show_fails_after_create") is not None:
            return Reply(500, raw=b"Internal Server Error", headers={"Content-Type": "text/plain"})
        machine = own(house, owner_of(request), request.parts["id"])
        if machine is None or machine.hidden_until > house.world.now:
            return Reply(200, {"instances": None})  # null with 200 when missing
        return Reply(200, {"instances": row(house, machine)})


def own(house: House, owner: int, id: str) -> Machine | None:
    """The owner's living machine of this id. Raises Refused for an id that is no number."""
    if not id.isdigit():
        raise refused(400, "invalid_args", "invalid instance_id")
    machine = house.world.found(id)
    return machine if machine is not None and contract_of(machine).owner == owner else None


def page(house: House, owner: int, query: dict[str, str]) -> dict[str, Any]:
    """One page, by keyset. Raises BadQuery, Refused for a token of somebody else."""
    tests = checked(read(query, "select_filters", {}), STORED)
    order = ordering(read(query, "order_by", []))
    columns = read(query, "select_cols", ["*"])
    limit = number(query.get("limit", MOST))
    size = FEW if limit is None or limit <= 0 else min(int(limit), MOST)
    mine = [machine for machine in house.world.listed() if contract_of(machine).owner == owner]
    rows = [row(house, machine) for machine in mine]
    found = in_order([each for each in rows if accepts(each, tests)], order)
    start = after(found, query.get("after_token"))
    shown = found[start : start + size]
    more = start + size < len(found)
    return {
        "success": True,
        "instances_found": len(shown),
        "total_instances": len(found),
        "label_counts": dict(Counter(each["label"] for each in found if each["label"])),
        "next_token": token(shown[-1]) if more else None,
        "instances": [chosen(each, columns) for each in shown],
    }


def read(query: dict[str, str], name: str, default: Any) -> Any:
    """A parameter that is JSON. Raises BadQuery."""
    if not query.get(name):
        return default
    try:
        found = json.loads(query[name])
    except ValueError:
        raise BadQuery(f"Error in query parameters: {name} is no JSON") from None
    if not isinstance(found, type(default)):
        raise BadQuery(f"Error in query parameters: {name}")
    return found


def ordering(given: list[Any]) -> list[tuple[str, str]]:
    """Columns and directions; an unknown direction is asc, the id is always the last of them."""
    found = []
    for each in given:
        column = each.get("col") if isinstance(each, dict) else None
        if column not in STORED:
            raise BadQuery(f"Error in query parameters: {column} is not a valid order column")
        found.append((str(column), "desc" if each.get("dir") == "desc" else "asc"))
    return [*found, ("id", "asc")]


def token(last: dict[str, Any]) -> str:
    return base64.b64encode(json.dumps({"values": {"id": last["id"]}}).encode()).decode()


def after(rows: list[dict[str, Any]], given: str | None) -> int:
    """Where the page begins. A row that has gone in between is looked for by its id's order (invented)."""
    if not given:
        return 0
    try:
        id = int(json.loads(base64.b64decode(given, validate=True))["values"]["id"])
    except (ValueError, KeyError, TypeError):
        raise refused(400, "invalid_token", "Invalid pagination token") from None
    for at, each in enumerate(rows):
        if each["id"] == id:
            return at + 1
    return sum(each["id"] <= id for each in rows)


def chosen(found: dict[str, Any], columns: list[Any]) -> dict[str, Any]:
    """Unknown names come back null."""
    return found if "*" in columns else {str(name): found.get(str(name)) for name in columns}
