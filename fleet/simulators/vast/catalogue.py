"""Offers, GPU names and templates (providers.md 2.3, 2.4)."""

from __future__ import annotations

from typing import Any

from fleet.simulators.site import Site
from fleet.simulators.vast import search
from fleet.simulators.vast.answers import body_of, both, owner_of
from fleet.simulators.vast.house import House
from fleet.simulators.vast.listing import read
from fleet.simulators.vast.refusals import Refused, invalid, quota_used_up, refused
from fleet.simulators.vast.stock import gpu_names
from fleet.simulators.vast.templates import Template
from fleet.simulators.wire import Reply, Request

DAY = 86_400


def open_catalogue(site: Site, house: House) -> None:
    """Registers the routes."""

    def offers(request: Request, where: str) -> Reply:
        if house.world.faults.take("search_quota") is not None:
            raise quota_used_up((house.now // DAY + 1) * DAY, house.now)
        wanted = search.parse(body_of(request), where)
        found = search.offers(house.asks.values(), wanted, house.now, house.free)
        if house.world.faults.take("offers_object") is not None:
            return Reply(200, {"offers": found[0] if found else {}})  # as the spec's example has it
        return Reply(200, {"offers": found})

    @both(site, "POST", "/api/v0/bundles")
    def bundles(request: Request) -> Reply:
        return offers(request, "bundles")

    @both(site, "PUT", "/api/v0/search/asks")
    def asks(request: Request) -> Reply:
        return offers(request, "asks")

    @both(site, "GET", "/api/v0/gpu_names/unique")
    def names(request: Request) -> Reply:
        return Reply(200, {"gpu_names": gpu_names()})

    open_templates(site, house)


def open_templates(site: Site, house: House) -> None:
    """Registers the templates' routes."""
    kept = house.templates

    @both(site, "GET", "/api/v0/template")
    def listed(request: Request) -> Reply:
        query = request.query
        if any(not isinstance(each, str) for each in read(query, "select_cols", ["*"])):
            raise invalid("select_cols")
        filters, order = read(query, "select_filters", {}), read(query, "order_by", [])
        rows = kept.found(owner_of(request), filters, order)
        return Reply(200, {"success": True, "templates_found": len(rows), "templates": rows})

    @both(site, "POST", "/api/v0/template")
    def create(request: Request) -> Reply:
        given = body_of(request)
        row, new = kept.make(owner_of(request), {name: v for name, v in given.items() if v is not None}, house.now)
        words = (
            "Template Created Successfully! New Template ID" if new else "Existing template found (wording invented)"
        )
        return Reply(
            200, {"success": True, "msg": f"{words}: {row['id']}", "template": told(row, "id", "hash_id", "name")}
        )

    def edit(request: Request, whole: bool) -> Reply:
        given = body_of(request)
        row = kept.own(owner_of(request), given.get("id"), given.get("hash_id")) if "hash_id" in given else None
        if row is None or (whole and row["hash_id"] != given["hash_id"]):
            raise missing()
        changed = {name: value for name, value in given.items() if name not in ("id", "hash_id")}
        return Reply(200, {"success": True, "template": told(kept.edit(row, changed, whole), "id", "hash_id")})

    @both(site, "PUT", "/api/v0/template")
    def edit_part(request: Request) -> Reply:
        return edit(request, False)

    @both(site, "PUT", "/api/v1/template")
    def edit_whole(request: Request) -> Reply:
        return edit(request, True)

    @both(site, "DELETE", "/api/v0/template")
    def delete(request: Request) -> Reply:
        given = body_of(request)
        id, hash_id = given.get("template_id"), given.get("hash_id")
        row = kept.own(owner_of(request), id, hash_id) if id is not None or hash_id is not None else None
        if row is None:
            raise missing()
        kept.remove(row)
        return Reply(200, {"success": True})


def told(row: Template, *names: str) -> dict[str, Any]:
    """What an answer to a change tells of a template (providers.md 2.3): never its login."""
    return {name: row[name] for name in names}


def missing() -> Refused:
    return refused(404, "no_such_template", "Template not found (wording invented)")
