"""Start, stop, label, bid, reboot, recycle, update, reserve, destroy (providers.md 2.6)."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

from fleet.simulators.disembody import disembody
from fleet.simulators.machine import Machine
from fleet.simulators.site import Site
from fleet.simulators.vast import lives, prices, refusals
from fleet.simulators.vast.answers import body_of, both, owner_of, written
from fleet.simulators.vast.contract import contract_of
from fleet.simulators.vast.house import House
from fleet.simulators.vast.listing import own
from fleet.simulators.vast.orders import LEAST_BID, environment
from fleet.simulators.vast.queries import number
from fleet.simulators.wire import Reply, Request

LONGEST_LABEL, BID_PER_GPU = 1024, 32


def needed(house: House, request: Request, id: str | None = None) -> Machine:
    """The owner's machine. Raises Refused: 404."""
    machine = own(house, owner_of(request), request.parts["id"] if id is None else id)
    if machine is None:
        raise refusals.no_instance()
    return machine


def open_managing(site: Site, house: House) -> None:
    """Registers the routes."""

    @both(site, "PUT", "/api/v0/instances/{id}")
    def manage(request: Request) -> Reply:
        changed(house, needed(house, request), body_of(request), request)
        return Reply(200, {"success": True})

    @both(site, "PUT", "/api/v0/instances")
    def manage_many(request: Request) -> Reply:
        given = body_of(request)
        ids = given.get("ids")
        if not isinstance(ids, list):
            raise refusals.invalid("ids is a list")
        for machine in [needed(house, request, str(id)) for id in ids]:
            changed(house, machine, {name: value for name, value in given.items() if name != "ids"}, request)
        return Reply(200, {"success": True})

    @both(site, "DELETE", "/api/v0/instances/{id}")
    def destroy(request: Request) -> Reply:
        body_of(request)
        return destroyed(house, request)

    @both(site, "DELETE", "/api/v0/instances")
    def destroy_many(request: Request) -> Reply:
        ids = body_of(request).get("instance_ids")
        if not isinstance(ids, list) or not ids:
            raise refusals.invalid("instance_ids is a list")
        found = [own(house, owner_of(request), str(id)) for id in ids]
        for machine in found:
            if machine is not None:
                lives.destroy(house, machine, "destroyed")
        if not any(found):
            raise refusals.no_instance()
        return Reply(200, {"success": True, "msg": "Instances destroyed successfully (wording invented)"})

    @both(site, "PUT", "/api/v0/instances/bid_price/{id}")
    def bid(request: Request) -> Reply:
        rebid(house, needed(house, request), body_of(request))
        return Reply(200, {"success": True})

    @both(site, "PUT", "/api/v0/instances/reboot/{id}")
    def reboot(request: Request) -> Reply:
        machine = needed(house, request)
        contract = contract_of(machine)
        if contract.intended != "running":
            raise refusals.invalid("Instance is not running (wording invented)")
        disembody(machine)
        lives.begin(house, machine, fresh=False)
        contract.actual = "rebooting"
        return Reply(200, {"success": True})

    @both(site, "PUT", "/api/v0/instances/recycle/{id}")
    def recycle(request: Request) -> Reply:
        machine = needed(house, request)
        disembody(machine)
        house.world.bodies.drop_folder(f"vast-{machine.id}")  # a new container, an empty disk
        lives.begin(house, machine, fresh=False)
        return Reply(200, {"success": True})

    @both(site, "PUT", "/api/v0/instances/update_template/{id}")
    def update(request: Request) -> Reply:
        machine = needed(house, request)
        updated(house, machine, body_of(request), owner_of(request))
        return Reply(200, {"success": True})

    @both(site, "PUT", "/api/v0/instances/prepay/{id}")
    def prepay(request: Request) -> Reply:
        machine = own(house, owner_of(request), request.parts["id"])
        amount = number(body_of(request).get("amount"))
        if machine is None or amount is None or amount <= 0:
            raise refusals.refused(400, None, "No such instance" if machine is None else "amount (wording invented)")
        if prices.read(amount) > house.world.credit:
            raise refusals.Refused(411, {"success": False, "msg": "Insufficient credit"})
        house.world.fee(machine.meter, "prepaid", prices.read(amount))
        months = float(prices.read(amount) / (contract_of(machine).base * prices.MONTH))
        return Reply(200, {"success": True, "timescale": round(months, 3), "discount_rate": 0.3})

    @both(site, "GET", "/api/v0/instances/balance/{id}")
    def balance(request: Request) -> Reply:
        needed(house, request)
        answer = {"success": True, "refundable_deposit": 0.0, "total_discount": 0.0, "discount_months": 0}
        return Reply(200, answer)


def changed(house: House, machine: Machine, given: dict[str, Any], request: Request) -> None:
    """State or label. Raises Refused."""
    strange = set(given) - {"state", "label"}
    request.violations.extend(f"manage: no field {name}" for name in sorted(strange))
    if "label" in given:
        label = given["label"]
        if not isinstance(label, str):
            raise refusals.invalid("label is a string")
        if len(label) > LONGEST_LABEL:
            raise refusals.refused(400, "label_too_long", "label too long (wording invented)")
        machine.tag = contract_of(machine).label = label
    state = given.get("state")
    if state == "stopped":
        if contract_of(machine).intended != "stopped":
            lives.stop(house, machine)
        contract_of(machine).outbid = False
    elif state == "running":
        if house.world.credit <= 0:
            raise refusals.out_of_credit()
        if contract_of(machine).intended != "running" and not lives.start(house, machine):
            raise refusals.invalid("the rental has expired (wording invented)")
    elif "label" not in given:
        raise refusals.invalid("state is running or stopped, or give a label")


def destroyed(house: House, request: Request) -> Reply:
    """One destroy with the faults around it; destroy.404 answers so although the machine is there and stays."""
    faults = house.world.faults
    style = "not_found" if faults.take("destroy_not_found") is not None else "no_such_instance"
    machine = own(house, owner_of(request), request.parts["id"])
    if machine is None:
        raise refusals.no_instance(style)
    if faults.take("destroy.429") is not None:
        raise refusals.too_often(3.0, "full")
    if faults.take("destroy.5xx") is not None:
        return Reply(503, raw=b"Service Unavailable", headers={"Content-Type": "text/plain"})
    if faults.take("destroy.404") is not None:
        return written(refusals.no_instance(style))
    lives.destroy(house, machine, "destroyed")
    if faults.take("destroy.lost_answer") is not None:
        return Reply(0, drop=True)
    return Reply(200, {"success": True, "msg": "Instance destroyed successfully"})


def rebid(house: House, machine: Machine, given: dict[str, Any]) -> None:
    """Another bid, 0.001 to 32 per GPU; a bid that wins again resumes the instance (providers.md 2.6, 2.7)."""
    contract = contract_of(machine)
    price = number(given.get("price"))
    if given.get("client_id") != "me" or price is None or prices.read(price) < LEAST_BID:
        raise refusals.invalid("Please set a bid price >= 0.001.")
    bid = prices.read(price)
    if bid > BID_PER_GPU * int(contract.ask.row["num_gpus"]):
        raise refusals.invalid("Please set a bid price <= 32 per GPU. (wording invented)")
    if not contract.is_bid:
        raise refusals.invalid("not an interruptible instance (wording invented)")
    contract.order = replace(contract.order, bid=bid)
    contract.base = bid
    lives.bill(house, machine)
    if bid < contract.ask.bid and contract.intended == "running":
        lives.stop(house, machine, outbid=True)
    elif bid >= contract.ask.bid:
        lives.resume(house, machine)


def updated(house: House, machine: Machine, given: dict[str, Any], owner: int) -> None:
    """A new container of another image or template on the same rental; its running one ends."""
    contract = contract_of(machine)
    order = contract.order
    template = None
    if given.get("template_hash_id"):
        template = house.templates.by_hash(owner, str(given["template_hash_id"]))
    elif given.get("template_id") is not None:
        template = house.templates.own(owner, id=given["template_id"])
    if template is None and (given.get("template_hash_id") or given.get("template_id") is not None):
        raise refusals.invalid("no such template (wording invented)")
    image = given.get("image") or (f"{template['image']}:{template['tag']}" if template else contract.image)
    args = given.get("args")
    contract.image = str(image)
    contract.order = replace(
        order,
        image=str(image),
        args=tuple(str(each) for each in args) if isinstance(args, list) else order.args,
        env={**order.env, **environment(given.get("env"), contract.ask.id)},
        onstart=given.get("onstart") or order.onstart,
    )
    if template is not None:
        contract.template_id, contract.template_hash = template["id"], template["hash_id"]
    if contract.intended == "running":
        disembody(machine)
        lives.begin(house, machine, fresh=True)


def preempt(house: House, sent: dict[str, Any]) -> dict[str, Any]:
    """The admin channel: {"id", "seconds"?, "min_bid"?}. Raises KeyError for none there, ValueError for on-demand."""
    machine = house.world.living[str(sent["id"])]
    contract = contract_of(machine)
    if not contract.is_bid and not sent.get("force"):
        raise ValueError('an on-demand instance cannot be outbid; {"force": true} takes it all the same')
    seconds = None if sent.get("seconds") is None else float(sent["seconds"])
    least = None if sent.get("min_bid") is None else Decimal(str(sent["min_bid"]))
    lives.outbid(house, machine, seconds, least)
    return {"id": machine.id, "min_bid": str(contract.ask.bid), "bid": str(contract.order.bid)}
