"""`PUT /api/v0/asks/{id}/` and `POST /api/v0/asks/bulk/`: the one call that bills, and all that goes wrong with it."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

from fleet.simulators.machine import Machine
from fleet.simulators.site import Site
from fleet.simulators.vast import lives, refusals
from fleet.simulators.vast.answers import body_of, both, owner_of, written
from fleet.simulators.vast.contract import Contract
from fleet.simulators.vast.house import BIRTH, House
from fleet.simulators.vast.orders import Order, parse, with_template
from fleet.simulators.vast.queries import number
from fleet.simulators.vast.refusals import Refused
from fleet.simulators.vast.stock import Ask
from fleet.simulators.vast.storage import attach, check_volume
from fleet.simulators.wire import Reply, Request

GATEWAY = b"<html><head><title>502 Bad Gateway</title></head><body>502 Bad Gateway</body></html>"
SLOW = 130.0  # real seconds: longer than the official client's timeout


def open_renting(site: Site, house: House) -> None:
    """Registers the routes."""

    @both(site, "POST", "/api/v0/asks/bulk")
    def bulk(request: Request) -> Reply:
        given = body_of(request)
        ids = given.get("ids")
        if not isinstance(ids, list) or not ids:
            raise refusals.invalid("Invalid args: ids")
        made = []
        for each in ids:
            machine, refused = rent(house, owner_of(request), each, {**given, "ids": None}, request)
            made.append(
                {"ask_id": each, **({"new_contract": int(machine.id)} if machine else {}), "success": not refused}
            )
        return Reply(200, {"success": any(one["success"] for one in made), "results": made})

    @both(site, "PUT", "/api/v0/asks/{ask}")
    def create(request: Request) -> Reply:
        return created(house, request)

    @both(site, "POST", "/api/v0/asks/{ask}")
    def wrong_method(request: Request) -> Reply:
        return Reply(405, {"success": False, "error": "method_not_allowed", "msg": "PUT creates"}, {"Allow": "PUT"})


def created(house: House, request: Request) -> Reply:
    """One create, with the faults around it."""
    faults = house.world.faults
    given = body_of(request)
    if faults.take("create.429_before") is not None:
        raise refusals.too_often(4.5, "detail")
    if faults.take("create.5xx_before_commit") is not None:
        return Reply(502, raw=GATEWAY, headers={"Content-Type": "text/html"})
    machine, refused = rent(house, owner_of(request), request.parts["ask"], given, request)
    if machine is None:
        raise refused or refusals.ask_gone(0)
    if faults.take("create.drop_after_commit") is not None:
        return Reply(0, drop=True)
    if faults.take("create.5xx_after_commit") is not None:
        return Reply(502, raw=GATEWAY, headers={"Content-Type": "text/html"})
    slow = faults.take("create.slow")
    bad = faults.take("create.bad_2xx")
    contract: Contract = machine.facts["contract"]
    if refused is not None:
        reply = written(refused)
    elif bad is not None:
        reply = {"truncated": Reply(200, raw=b'{"success": true, "new_con'), "no_success": Reply(200, {})}.get(
            str(bad.get("form", "no_id")), Reply(200, {"success": True})
        )
    else:
        answer = {"success": True, "new_contract": contract.id, "instance_api_key": contract.key}
        reply = Reply(200, answer)
    reply.slow = float(slow.get("seconds", SLOW)) if slow is not None else 0.0
    return reply


def rent(
    house: House, owner: int, asked: Any, given: dict[str, Any], request: Request
) -> tuple[Machine | None, Refused | None]:
    """A machine, a refusal, or both: a bid too low is an error that still made a contract (providers.md 2.5)."""
    try:
        ask, order, template = understood(house, owner, asked, given, request)
        check_account(house)
    except Refused as refused:
        return None, refused
    double = house.world.faults.take("double_buy_accepts_both")
    free, low = house.free(ask), order.bid is not None and order.bid < ask.bid
    if not free and double is None and order.cancels:
        return None, refusals.ask_gone(ask.id)
    machine = commit(house, owner, ask, order, template)
    if low:
        born_stopped(house, machine)
        words = f"bid too low: at least {ask.bid} (wording invented)"
        return machine, refusals.refused(400, "invalid_price", words, new_contract=int(machine.id))
    if "born_stopped" in machine.quirks or order.stopped:
        born_stopped(house, machine)
    elif free and lives.taken(house, machine):
        lives.begin(house, machine)
    elif double is not None:
        lives.begin(house, machine)
        wait = float(double.get("seconds", 30))
        house.world.after(wait, lambda: lives.destroy(house, machine, "the slice was another's"), machine)
    else:
        born_stopped(house, machine)  # cancel_unavail false: created, stopped, waiting for its slice
    if house.world.faults.take("list.duplicate_tag") is not None:
        lives.begin(house, commit(house, owner, ask, order, template))  # a second machine, which nobody ordered
    return machine, None


def understood(
    house: House, owner: int, asked: Any, given: dict[str, Any], request: Request
) -> tuple[Ask, Order, dict[str, Any] | None]:
    """The slice and the order, complete. Raises Refused."""
    faults, found = house.world.faults, number(asked)
    ask = house.asks.get(int(found)) if found is not None else None
    if found is None:
        raise refusals.ask_id_wrong(0)
    if faults.take("ask_gone_404") is not None or ask is None:
        raise refusals.ask_unavailable(int(found))
    for knob, status in (("ask_gone_410", 410), ("ask_gone_400", 400)):
        if faults.take(knob) is not None:
            raise refusals.ask_gone(ask.id, status)
    if faults.take("foreign_ask") is not None:
        raise refusals.ask_of_somebody(ask.id)
    order, strange = parse(given, ask.id)
    request.violations.extend(f"create: no field {name}" for name in strange)
    if given.get("client_id") != "me":
        request.violations.append("create: client_id is not me")
    template = None
    if order.template is not None:
        template = house.templates.by_hash(owner, order.template)
        if template is None:
            raise refusals.invalid("Invalid args: no such template_hash_id", ask.id)
        template["count_created"] += 1
        order = with_template(order, template, given, ask.id)
    if order.image is None:
        raise refusals.invalid("Invalid args: image", ask.id)
    if order.vm and not house.ssh_keys:
        raise refusals.refused(400, "no_ssh_key_for_vm", "No ssh key for the VM (wording invented)", ask_id=ask.id)
    if order.disk > Decimal(str(ask.row["disk_space"])):
        raise refusals.invalid("Invalid args: disk is more than the offer has", ask.id)
    check_volume(house, owner, ask, order.volume)
    return ask, order, template


def check_account(house: House) -> None:
    """Money first. Raises Refused."""
    if house.world.faults.take("spend_rate_limit") is not None:
        raise refusals.refused(403, "spend_rate_limit", "spend rate limit (wording and shape invented)")
    style = house.world.faults.take("out_of_credit_body")
    if style is not None or house.world.credit <= 0:
        raise refusals.out_of_credit(str((style or {}).get("style", "400")))


def commit(house: House, owner: int, ask: Ask, order: Order, template: dict[str, Any] | None) -> Machine:
    """The contract exists, and its disk bills."""
    world, id = house.world, house.number()
    jump = world.faults.take("price.jump")
    base = order.bid if order.bid is not None else ask.base
    if jump is not None:
        base *= Decimal(str(jump.get("factor", 2)))
    quirks = world.faults.deal(name for name in BIRTH if name != "price.jump")
    lasts = float(quirks["expires_in"].get("seconds", 3600)) if "expires_in" in quirks else None
    contract = Contract(
        id=id,
        owner=owner,
        ask=ask,
        order=replace(order, runtype=order.runtype or "ssh"),
        base=base,
        key=f"{world.rng.getrandbits(256):064x}",
        label=order.label,
        image=order.image or "",
        end=float(ask.row["end_date"]) if lasts is None else house.now + lasts,
        template_id=template["id"] if template else None,
        template_hash=template["hash_id"] if template else None,
    )
    machine = world.commit(str(id), order.label or "", order.env, {"contract": contract}, "null")
    machine.quirks.update(quirks)
    if machine.hidden_reads == 0 and machine.hidden_until == 0:
        machine.hide({"seconds": house.timing.appears}, world.now)
    attach(house, machine)
    lives.bill(house, machine)
    world.after(contract.end - house.now, lambda: lives.expire(house, machine), machine)
    return machine


def born_stopped(house: House, machine: Machine) -> None:
    """Made, and stopped: the disk bills (providers.md 2.7)."""
    lives.stop(house, machine, outbid=True)
    machine.facts["contract"].actual = None  # nothing ran there yet
    lives.bill(house, machine)
