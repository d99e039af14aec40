"""Hyperbolic on loopback: rental options, rentals, terminate, balance (providers.md 3)."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Sequence
from decimal import ROUND_FLOOR, Decimal
from pathlib import Path
from typing import Any

from fleet.simulators.bodies.body import Bodies
from fleet.simulators.clock import VirtualClock
from fleet.simulators.faults import Faults
from fleet.simulators.hyperbolic import refusals
from fleet.simulators.hyperbolic.estate import KNOBS, Estate
from fleet.simulators.hyperbolic.invented import INVENTED
from fleet.simulators.hyperbolic.machines import Machines
from fleet.simulators.hyperbolic.options import matching
from fleet.simulators.hyperbolic.refusals import Refused
from fleet.simulators.hyperbolic.rentals import rental_of, row
from fleet.simulators.machine import Machine
from fleet.simulators.site import Answer, Site
from fleet.simulators.wire import Reply, Request
from fleet.simulators.world import World

KEYS_FILE = "STOKER_SIMULATOR_AUTHORIZED_KEYS"  # a file of public keys, as pasted into the web settings
RENTALS = "/v2/on-demand/virtual-machine-rentals"
OPTIONS = "/v2/on-demand/rental-options"
OPEN = "/v2/alpha/on-demand/rental-options"
FIELDS = {"gpuType", "region", "gpuCount", "networkType", "termType", "label"}
NEEDED = FIELDS - {"label"}
SLOW = 130.0  # real seconds: longer than any client's patience


class HyperbolicSite(Site):
    """A Site with its Estate, for tests that look inside."""

    estate: Estate


def open_site(
    clock: VirtualClock,
    bodies: Bodies,
    seed: int = 0,
    credit: Decimal = Decimal(1000),
    keys: Collection[str] = (),
    authorized_keys: Path | None = None,
) -> HyperbolicSite:
    """The simulated Hyperbolic. keys: bearers that are let in, or all; authorized_keys: a file of public SSH keys, else
    the one that STOKER_SIMULATOR_AUTHORIZED_KEYS names; more by POST /_sim/authorized_keys {"key": "ssh-..."}."""
    machines = Machines(bodies, lambda id: estate.built(id))
    world = World("hyperbolic", clock, Faults(KNOBS, seed), machines, seed, credit)
    estate = Estate(world, bodies, seed, frozenset(keys))
    named = authorized_keys or (Path(os.environ[KEYS_FILE]) if os.environ.get(KEYS_FILE) else None)
    if named is not None:
        estate.lets_in += [line.strip() for line in named.read_text().splitlines() if line.strip()]
    site = HyperbolicSite(world, lambda request: guard(estate, site, request), missing, INVENTED)
    site.estate = estate
    world.on_broke = estate.broke
    open_options(site, estate)
    open_rentals(site, estate)
    open_money(site, estate)
    open_admin(site, estate)
    return site


def answering(site: Site, method: str, path: str) -> Callable[[Answer], Answer]:
    """Registers a route whose Refused becomes an answer in the shape of the day."""

    def registered(function: Answer) -> Answer:
        def answered(request: Request) -> Reply:
            try:
                return function(request)
            except Refused as refused:
                return spoken(site.world, refused)

        return site.route(method, path)(answered)

    return registered


def spoken(world: World, refused: Refused) -> Reply:
    """The error in one of the four shapes that clients read; the knob error_style picks."""
    style = (world.faults.take("error_style") or {}).get("style", "message")
    return Reply(refused.status, refused.body(str(style)))


def guard(estate: Estate, site: Site, request: Request) -> Reply | None:
    """The edge, then the key."""
    estate.url = site.url
    agent = request.headers.get("user-agent", "")
    if agent.lower().startswith("python-urllib") or not agent:
        return Reply(403, raw=refusals.EDGE.encode(), headers={"Content-Type": "text/html; charset=UTF-8"})
    if request.path == OPEN:
        return None
    revoked = estate.world.faults.take("auth.revoked_midway") is not None
    wrong = request.bearer not in estate.keys if estate.keys else request.bearer.startswith("wrong")
    if revoked or wrong or not request.bearer:
        return spoken(estate.world, refusals.unauthorized())
    return None


def missing(request: Request, allowed: Sequence[str]) -> Reply:
    """Never 200 (providers.md 4); both bodies are invented."""
    request.violations.append(f"no such endpoint: {request.method} {request.path}")
    if allowed:
        return Reply(405, {"message": "Method Not Allowed (wording invented)"}, {"Allow": ", ".join(allowed)})
    return Reply(404, {"message": "Not Found (wording invented)"})


def open_options(site: Site, estate: Estate) -> None:
    """The rows, with a key and, at another path, without."""

    def listed(request: Request) -> Reply:
        return Reply(200, [option.shown() for option in estate.counted()])

    for path in (OPTIONS, OPEN):
        answering(site, "GET", path)(listed)


def open_rentals(site: Site, estate: Estate) -> None:
    """Create, list, terminate."""
    world, faults = estate.world, estate.world.faults

    @answering(site, "GET", RENTALS)
    def listed(request: Request) -> Reply:
        machines = world.listed()
        if faults.take("terminated_rows_listed") is not None:
            machines = [*machines, *(each for each in estate.gone if each not in machines)]
        return Reply(200, [shown(estate, machine) for machine in machines])

    @answering(site, "POST", RENTALS)
    def create(request: Request) -> Reply:
        return created(estate, request)

    @answering(site, "POST", f"{RENTALS}/terminate")
    def terminate(request: Request) -> Reply:
        return terminated(estate, request)


def shown(estate: Estate, machine: Machine) -> dict[str, Any]:
    rental, world = rental_of(machine), estate.world
    began = None if rental.started is None else world.stamp(rental.started)
    return row(machine, world.stamp(machine.made), began, world.faults)


def created(estate: Estate, request: Request) -> Reply:
    """One create, with the faults around it. Raises Refused."""
    world, faults = estate.world, estate.world.faults
    given = asked(request)
    if faults.take("create.429_before") is not None:
        return Reply(429, refusals.written("message", "RATE", "Too many requests (wording invented)"))
    if faults.take("create.5xx_before_commit") is not None or faults.take("500_before_commit") is not None:
        raise refusals.broken()
    found = matching(estate.counted(), given["gpuType"], given["region"], given["gpuCount"], given["networkType"])
    if faults.take("option_vanishes_before_create") is not None or not found:
        raise refusals.unavailable()
    if world.credit <= 0:
        raise refusals.poor()
    label = str(given.get("label") or "")
    machine = estate.rent(world.rng.choice(found), label)  # a create cannot say which form factor
    if faults.take("list.duplicate_tag") is not None:
        estate.rent(found[0], label)
    if faults.take("create.drop_after_commit") is not None:
        return Reply(0, drop=True)
    if faults.take("create.5xx_after_commit") is not None or faults.take("500_after_commit") is not None:
        raise refusals.broken()
    slow, bad = faults.take("create.slow"), faults.take("create.bad_2xx")
    answer = shown(estate, machine)
    reply = Reply(201, answer)
    if bad is not None:
        cut = bad.get("form") == "truncated"
        reply = Reply(201, raw=b'{"id": 48') if cut else Reply(201, {n: v for n, v in answer.items() if n != "id"})
    reply.slow = 0.0 if slow is None else float(slow.get("seconds", SLOW))
    return reply


def asked(request: Request) -> dict[str, Any]:
    """The create's body, checked. Raises Refused (400)."""
    given = body(request)
    request.violations.extend(f"create: no field {name}" for name in sorted(set(given) - FIELDS))
    for name in sorted(NEEDED - set(given)):
        raise refusals.malformed(f"{name} is required")
    for name in ("gpuType", "region", "networkType", "termType"):
        if not isinstance(given[name], str):
            raise refusals.malformed(f"{name} is a string")
    if not isinstance(given["gpuCount"], int) or isinstance(given["gpuCount"], bool) or given["gpuCount"] < 1:
        raise refusals.malformed("gpuCount is a whole number")
    if given["termType"] != "on-demand":
        raise refusals.malformed("termType is on-demand")
    if "label" in given and given["label"] is not None and not isinstance(given["label"], str):
        raise refusals.malformed("label is a string")
    return given


def body(request: Request) -> dict[str, Any]:
    """An object. Raises Refused (400)."""
    try:
        given = request.json()
    except ValueError:
        raise refusals.malformed("no JSON") from None
    if not isinstance(given, dict):
        raise refusals.malformed("no JSON object")
    return given


def terminated(estate: Estate, request: Request) -> Reply:
    """One terminate, with the faults around it. Raises Refused."""
    world, faults = estate.world, estate.world.faults
    given = body(request)
    request.violations.extend(f"terminate: no field {n}" for n in sorted(set(given) - {"rentalId", "reason", "id"}))
    id = given.get("rentalId")
    if id is None and faults.take("terminate_takes_id") is not None:
        id = given.get("id")
    if not isinstance(id, int) or isinstance(id, bool):
        raise refusals.malformed("rentalId is a whole number")
    done = Reply(200, {"message": "Rental successfully terminated", "rentalId": id})
    machine = world.found(str(id))
    if machine is None:
        if str(id) in world.machines and faults.take("second_terminate_200") is not None:
            return done
        raise refusals.no_rental()
    if faults.take("destroy.429") is not None:
        return Reply(429, refusals.written("message", "RATE", "Too many requests (wording invented)"))
    if faults.take("destroy.5xx") is not None:
        raise refusals.broken()
    if faults.take("destroy.404") is not None:
        raise refusals.no_rental()
    estate.end(machine, "terminated")
    return Reply(0, drop=True) if faults.take("destroy.lost_answer") is not None else done


def open_money(site: Site, estate: Estate) -> None:
    """The balance in cents, and the user."""
    world, faults = estate.world, estate.world.faults

    @answering(site, "GET", "/v2/customer/balance")
    def balance(request: Request) -> Reply:
        cents = int((world.credit * 100).to_integral_value(ROUND_FLOOR))
        if faults.take("balance.zero") is not None:
            cents = 0
        if faults.take("balance.negative") is not None:
            return Reply(200, {"balanceCents": -50})
        if faults.take("balance.missing") is not None:
            return Reply(200, {"maxOverdraftCents": 0})
        return Reply(200, {"balanceCents": cents, "maxOverdraftCents": 0})

    @answering(site, "GET", "/v2/users/me")
    def me(request: Request) -> Reply:
        return Reply(200, {"email": "you@example.com", "role": "pro"})


def open_admin(site: Site, estate: Estate) -> None:
    """The side channel's own names: authorized_keys (the web settings), options, boot, preempt (a host is lost)."""

    def authorized_keys(sent: dict[str, Any]) -> dict[str, Any]:
        if "key" in sent:
            estate.lets_in.append(str(sent["key"]).strip())
        return {"keys": len(estate.lets_in)}

    def options(sent: dict[str, Any]) -> dict[str, Any]:
        """{"row": n, "enabled": bool, "cents": n}: the list churns."""
        chosen = estate.options[int(sent["row"])]
        if "enabled" in sent:
            chosen.row["enabled"] = bool(sent["enabled"])
        if "cents" in sent:
            chosen.row["costPerHourCents"] = int(sent["cents"])
        return chosen.shown()

    def boot(sent: dict[str, Any]) -> dict[str, Any]:
        """{"seconds": [least, most]} from the order to Running."""
        if "seconds" in sent:
            least, most = (float(each) for each in sent["seconds"])
            estate.boot = (least, most)
        return {"seconds": list(estate.boot)}

    def preempt(sent: dict[str, Any]) -> dict[str, Any]:
        machine = estate.world.living[str(sent["id"])]
        estate.end(machine, "host lost")
        return {"id": machine.id}

    site.admin.update(authorized_keys=authorized_keys, options=options, boot=boot, preempt=preempt)
