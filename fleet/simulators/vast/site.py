"""Vast.ai on loopback: who may ask, how often, and where everything is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from fleet.simulators.bodies.body import Bodies
from fleet.simulators.clock import VirtualClock
from fleet.simulators.faults import Faults
from fleet.simulators.site import Site
from fleet.simulators.vast import lives, refusals
from fleet.simulators.vast.account import open_account
from fleet.simulators.vast.answers import written
from fleet.simulators.vast.catalogue import open_catalogue
from fleet.simulators.vast.charges import open_charges
from fleet.simulators.vast.house import KNOBS, House
from fleet.simulators.vast.invented import INVENTED
from fleet.simulators.vast.limits import endpoint
from fleet.simulators.vast.listing import open_listing
from fleet.simulators.vast.managing import open_managing, preempt
from fleet.simulators.vast.pending import open_pending
from fleet.simulators.vast.renting import open_renting
from fleet.simulators.vast.results import PATH, open_results
from fleet.simulators.vast.storage import open_storage
from fleet.simulators.wire import Reply, Request
from fleet.simulators.world import World

SECRETS = ("instance_api_key", "docker_login_user", "jupyter_token", "ssh_key")
OWN_ACTIONS = ("manage", "destroy")  # what an instance's own key may do, to itself (providers.md 2.5)


class VastSite(Site):
    """A Site with its House, for tests that look inside."""

    house: House


def open_site(
    clock: VirtualClock,
    bodies: Bodies,
    seed: int = 0,
    credit: Decimal = Decimal(1000),
    keys: Mapping[str, int] | None = None,
    limits: bool = True,
) -> VastSite:
    """The simulated Vast.ai. keys: bearer -> owner, or every key is one account's; limits: minimum intervals hold."""
    world = World("vast", clock, Faults(KNOBS, seed), bodies, seed, credit)
    house = House(world, seed, keys or {})
    house.limits.on = limits
    site = VastSite(world, lambda request: guard(house, request), missing, INVENTED, secrets=SECRETS)
    site.house = house
    house.url = lambda: site.url
    world.on_broke = lambda: lives.broke(house)
    for opened in (open_renting, open_pending, open_listing, open_managing, open_catalogue, open_account, open_charges):
        opened(site, house)
    open_results(site, house)
    open_storage(site, house)
    open_admin(site, house)
    return site


def open_admin(site: Site, house: House) -> None:
    """The side channel's own names: preempt, limits, bid (an ask's least bid), delist, volumes."""

    def limits(sent: dict[str, Any]) -> dict[str, Any]:
        house.limits.on = bool(sent.get("on", house.limits.on))
        return {"on": house.limits.on}

    def least(sent: dict[str, Any]) -> dict[str, Any]:
        house.asks[int(sent["ask"])].bid = Decimal(str(sent["min_bid"]))
        return {"ask": sent["ask"], "min_bid": str(sent["min_bid"])}

    def delist(sent: dict[str, Any]) -> dict[str, Any]:
        house.asks[int(sent["ask"])].listed = bool(sent.get("listed", False))
        return {"ask": sent["ask"], "listed": house.asks[int(sent["ask"])].listed}

    def volumes(sent: dict[str, Any]) -> dict[str, Any]:
        rows = [{"id": one.id, "usd_per_hour": str(one.meter.rate)} for one in house.volumes.values()]
        return {"volumes": rows}

    def timing(sent: dict[str, Any]) -> dict[str, Any]:
        for name, seconds in sent.items():
            if name not in vars(house.timing):
                raise ValueError(f"no such time: {name}; there are: {', '.join(vars(house.timing))}")
            setattr(house.timing, name, type(getattr(house.timing, name))(seconds))
        return dict(vars(house.timing))

    site.admin.update(
        preempt=lambda sent: preempt(house, sent), limits=limits, min_bid=least, delist=delist, volumes=volumes,
        timing=timing,
    )  # fmt: skip


def guard(house: House, request: Request) -> Reply | None:
    """The key, then the rate; sets `request.caller`. An Authorization is looked at before anything else."""
    path = request.path.rstrip("/")
    if path.startswith(PATH.rstrip("/")) or path == "/api/v0/gpu_names/unique":
        return None
    name = endpoint(request.method, path)
    if "api_key" in request.query:
        request.violations.append("a key in the query")
    if house.world.faults.take("auth.revoked_midway") is not None:
        return written(refusals.bad_key(name))
    if not request.headers.get("authorization"):
        return written(refusals.no_key(name))
    owner = house.owner(request.bearer)
    contract = house.of_key(request.bearer)
    if contract is not None:
        if name not in OWN_ACTIONS or request.path.rstrip("/") != f"/api/v0/instances/{contract.id}":
            return written(refusals.bad_key(name))
        owner = contract.owner
    if owner is None:
        return written(refusals.bad_key(name))
    request.caller = str(owner)
    return throttled(house, name, request)


def throttled(house: House, name: str, request: Request) -> Reply | None:
    """429 when the call comes too early, or by the knob; never a Retry-After."""
    forced = house.world.faults.take("throttle")
    if forced is not None:
        return written(refusals.too_often(float(forced.get("threshold", 3.0)), str(forced.get("style", "plain"))))
    threshold = house.limits.early(name, request.bearer, house.now)
    if threshold is None:
        return None
    if name == "bundles":
        return written(refusals.too_often(threshold, "plain"))
    return written(refusals.too_often(threshold, "full" if name == "destroy" else "detail"))


def missing(request: Request, allowed: Sequence[str]) -> Reply:
    """Never 200 (providers.md 4). Both bodies are invented."""
    request.violations.append(f"no such endpoint: {request.method} {request.path}")
    if allowed:
        body = {"success": False, "error": "method_not_allowed", "msg": "Method Not Allowed (wording invented)"}
        return Reply(405, body, {"Allow": ", ".join(allowed)})
    return Reply(404, {"success": False, "error": "not_found", "msg": "Not Found (wording invented)"})
