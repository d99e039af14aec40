"""A host that wants more money: it waits for the renter's word (shape: the official client's docstrings [C])."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from fleet.simulators.machine import Machine
from fleet.simulators.site import Site
from fleet.simulators.vast import lives
from fleet.simulators.vast.answers import body_of, both, owner_of
from fleet.simulators.vast.contract import contract_of
from fleet.simulators.vast.house import House
from fleet.simulators.vast.refusals import invalid
from fleet.simulators.wire import Reply, Request

KNOB = "price_increase_request"


def open_pending(site: Site, house: House) -> None:
    """Registers the routes."""

    @both(site, "GET", "/api/v0/instances/pending-price-increases")
    def pending(request: Request) -> Reply:
        rows = [row(machine) for machine in waiting(house, owner_of(request))]
        return Reply(200, {"success": True, "count": len(rows), "truncated": False, "pending_price_increases": rows})

    def answered(request: Request, accepted: bool) -> Reply:
        given = body_of(request)
        if set(given) != {"pending_price_increase_id"}:
            raise invalid("exactly pending_price_increase_id (wording invented)")
        for machine in waiting(house, owner_of(request)):
            if number_of(machine) == given["pending_price_increase_id"]:
                if accepted:
                    contract_of(machine).base = wanted(machine)
                    lives.bill(house, machine)
                del machine.quirks[KNOB]
                answer = {
                    "pending_price_increase_id": given["pending_price_increase_id"],
                    "contract_id": int(machine.id),
                }
                return Reply(200, {"success": True, **answer})
        raise invalid("no such price increase (wording invented)")

    @both(site, "PUT", "/api/v0/instances/accept-price-increase")
    def accept(request: Request) -> Reply:
        return answered(request, True)

    @both(site, "PUT", "/api/v0/instances/reject-price-increase")
    def reject(request: Request) -> Reply:
        return answered(request, False)


def waiting(house: House, owner: int) -> list[Machine]:
    return [machine for machine in house.contracts(owner) if KNOB in machine.quirks]


def number_of(machine: Machine) -> int:
    return int(machine.id) % 100_000


def wanted(machine: Machine) -> Decimal:
    """USD/h of the GPUs, as the host would have it."""
    return contract_of(machine).base * Decimal(str(machine.quirks[KNOB].get("factor", "1.5")))


def row(machine: Machine) -> dict[str, Any]:
    contract = contract_of(machine)
    unchanged = dict.fromkeys(("new_disk_ram_costpersec", "new_bwu_cost", "new_bwd_cost", "new_platform_fee"))
    before = dict.fromkeys(("old_disk_ram_costpersec", "old_bwu_cost", "old_bwd_cost", "old_platform_fee"))
    return {
        "pending_price_increase_id": number_of(machine),
        "contract_id": contract.id,
        "host_id": contract.ask.row["host_id"],
        "new_gpu_costpersec": float(wanted(machine) / 3600),
        "old_gpu_costpersec": float(contract.base / 3600),
        **unchanged,
        **before,
        "contract_end_date": contract.end,
        "ask_end_date": contract.ask.row["end_date"],
        "created_at": machine.made / 1_000_000,
    }
