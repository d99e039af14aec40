"""The side channel of a simulator, /_sim/...: its clock, knobs, stock and credit, and the truth for assertions.

GET/POST /_sim/clock      {"sleep": s} comes back after s virtual seconds, {"advance": s} moves the time at once
GET/POST /_sim/faults     {"create.drop_after_commit": {"count": 1}, ...}; DELETE takes all off
GET      /_sim/rentals    every machine ever, with its bill; sums per tag and per wish
GET      /_sim/requests   the request log and counts per minute; DELETE empties it
GET/POST /_sim/stock      {"KEY": n | null}: what is free; null is no limit
GET/POST /_sim/credit     {"usd": "12.5"}
GET      /_sim/invented   what is made up, and why
POST     /_sim/NAME       the provider's own, e.g. preempt {"id": ...}
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

from fleet.simulators.truth import rentals
from fleet.simulators.wire import Reply, Request

if TYPE_CHECKING:
    from fleet.simulators.site import Site


def answer_admin(site: Site, request: Request) -> Reply:
    """The reply to a request below /_sim/. 400 for a table that makes no sense, 404 for an unknown name."""
    name = request.path.removeprefix("/_sim/").strip("/")
    try:
        sent = request.json() if request.body else {}
        if not isinstance(sent, dict):
            return Reply(400, {"error": "send a JSON object"})
        act = OWN.get((request.method, name))
        if act is not None:
            return Reply(200, act(site, sent))
        if request.method == "POST" and name in site.admin:
            with site.world.lock:
                site.world.catch_up()
                return Reply(200, site.admin[name](sent))
        return Reply(
            404, {"error": "no such thing", "there are": sorted({known for _, known in OWN} | set(site.admin))}
        )
    except (ValueError, KeyError, TypeError, InvalidOperation) as wrong:
        return Reply(400, {"error": f"{type(wrong).__name__}: {wrong}"})


def _clock(site: Site, sent: dict[str, Any]) -> dict[str, Any]:
    clock = site.world.clock
    if "sleep" in sent:
        clock.sleep(float(sent["sleep"]))
    if "advance" in sent:
        clock.advance(float(sent["advance"]))
    return {"now": clock.now().isoformat()}


def _faults(site: Site, sent: dict[str, Any]) -> dict[str, Any]:
    site.world.faults.set(sent)
    return {"set": site.world.faults.shown(), "names": sorted(site.world.faults.names)}


def _no_faults(site: Site, sent: dict[str, Any]) -> dict[str, Any]:
    site.world.faults.clear()
    return _faults(site, {})


def _rentals(site: Site, sent: dict[str, Any]) -> dict[str, Any]:
    return rentals(site.world)


def _requests(site: Site, sent: dict[str, Any]) -> dict[str, Any]:
    with site.world.lock:
        log = site.log
        return {
            "count": len(log.rows),
            "per_minute": log.per_minute(),
            "violations": dict(log.violations),
            "requests": log.shown(),
        }


def _no_requests(site: Site, sent: dict[str, Any]) -> dict[str, Any]:
    with site.world.lock:
        site.log.clear()
    return {"count": 0}


def _stock(site: Site, sent: dict[str, Any]) -> dict[str, Any]:
    world = site.world
    with world.lock:
        for key, count in sent.items():
            if count is None:
                world.stock.pop(key, None)
            elif isinstance(count, int) and not isinstance(count, bool) and count >= 0:
                world.stock[key] = count
            else:
                raise ValueError(f"stock of {key}: a whole number from 0, or null for no limit")
        return dict(world.stock)


def _credit(site: Site, sent: dict[str, Any]) -> dict[str, Any]:
    world = site.world
    if "usd" in sent:
        world.catch_up()
        world.credit = Decimal(str(sent["usd"]))
    world.catch_up()
    return {"usd": str(world.credit), "usd_per_hour": str(world.rate)}


def _invented(site: Site, sent: dict[str, Any]) -> dict[str, Any]:
    return {"provider": site.name, "invented": [one.shown() for one in site.invented]}


OWN: dict[tuple[str, str], Callable[[Site, dict[str, Any]], dict[str, Any]]] = {
    ("GET", "clock"): _clock,
    ("POST", "clock"): _clock,
    ("GET", "faults"): _faults,
    ("POST", "faults"): _faults,
    ("DELETE", "faults"): _no_faults,
    ("GET", "rentals"): _rentals,
    ("GET", "requests"): _requests,
    ("DELETE", "requests"): _no_requests,
    ("GET", "stock"): _stock,
    ("POST", "stock"): _stock,
    ("GET", "credit"): _credit,
    ("POST", "credit"): _credit,
    ("GET", "invented"): _invented,
}
