"""Volumes: disks of one machine that outlive its instances, and bill (providers.md 2.10)."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from fleet.simulators.machine import Machine
from fleet.simulators.meter import Meter
from fleet.simulators.site import Site
from fleet.simulators.vast import prices, refusals
from fleet.simulators.vast.answers import body_of, both, owner_of
from fleet.simulators.vast.contract import contract_of
from fleet.simulators.vast.house import House, Volume
from fleet.simulators.vast.queries import accepts, checked, in_order, number
from fleet.simulators.vast.search import FIELDS, field, ordering
from fleet.simulators.vast.stock import Ask
from fleet.simulators.wire import Reply, Request

LIMIT, SIZE = 64, 15
OF_BOTH = (
    *("machine_id", "host_id", "cpu_arch", "cpu_name", "cuda_max_good", "disk_name", "driver_version", "inet_up"),
    *("inet_down", "mobo_name", "reliability2", "static_ip", "verification", "start_date", "geolocation"),
)
OF_AN_OFFER, OF_A_VOLUME = ("disk_bw", "gpu_arch", "external", "end_date"), ("os_version",)


def open_storage(site: Site, house: House) -> None:
    """Registers the routes."""

    @both(site, "POST", "/api/v0/volumes/search")
    def search(request: Request) -> Reply:
        given = body_of(request)
        limit, disk = number(given.pop("limit", LIMIT)), number(given.pop("allocated_storage", 1))
        order = ordering(given.pop("order", None))
        tests = checked(given, FIELDS)
        rows = [offer(house, ask, Decimal(str(disk or 1))) for ask in offered(house).values()]
        found = [row for row in rows if accepts(row, tests, field)]
        return Reply(200, {"offers": in_order(found, order)[: int(limit or LIMIT)]})

    @both(site, "GET", "/api/v0/volumes")
    def listed(request: Request) -> Reply:
        own = [row(house, each) for each in house.volumes.values() if each.owner == owner_of(request)]
        return Reply(200, {"volumes": own})

    @both(site, "PUT", "/api/v0/volumes")
    def create(request: Request) -> Reply:
        given = body_of(request)
        size = number(given.get("size", SIZE))
        ask = offered(house).get(int(number(given.get("id")) or 0))
        if ask is None:
            raise refusals.invalid("Please provide a valid volume offer ID. (wording invented)")
        if size is None or not 1 <= size <= float(ask.row["avail_vol_size"]):
            raise refusals.invalid("Please provide a valid size. (wording invented)")
        made = make(house, owner_of(request), ask, size, str(given.get("name") or ""))
        return Reply(200, {"success": True, "volume_name": f"V.{made.id}"})

    @both(site, "DELETE", "/api/v0/volumes")
    def delete(request: Request) -> Reply:
        found = number({**request.query, **body_of(request)}.get("id"))  # the official client puts it into the query
        if found is None:
            raise refusals.invalid("Please provide a valid volume ID.")
        volume = house.volumes.get(int(found))
        if volume is None or volume.owner != owner_of(request):
            raise refusals.refused(404, "no_such_volume", "Volume with that ID does not exist.")
        if users(house, volume):
            raise refusals.invalid("Volume is attached to an instance. (wording invented)")
        house.world.charge(volume.meter, {})
        house.world.bodies.drop_folder(f"vast-volume-{volume.id}")
        del house.volumes[volume.id]
        return Reply(200, {"success": True})


def offered(house: House) -> dict[int, Ask]:
    """Volume offers by id: one per machine."""
    return {int(ask.row["avail_vol_ask_id"]): ask for ask in house.asks.values()}


def offer(house: House, ask: Ask, disk: Decimal) -> dict[str, Any]:
    whole = prices.disk_hour(ask.storage, disk)
    return {
        **{name: ask.row.get(name) for name in (*OF_BOTH, *OF_AN_OFFER)},
        "id": ask.row["avail_vol_ask_id"],
        "ask_contract_id": ask.row["avail_vol_ask_id"],
        "bundle_id": ask.row["bundle_id"],
        "disk_space": ask.row["avail_vol_size"],
        "duration": max(0.0, ask.row["end_date"] - house.now),
        "driver_vers": str(ask.row["driver_vers"]),
        "reliability": ask.row["reliability"],
        "storage_cost": float(ask.storage),
        "storage_total_cost": prices.shown(whole),
        "dph_total": prices.shown(whole),
        "score": ask.row["score"],
        "rentable": True,
        "rented": False,
    }


def make(house: House, owner: int, ask: Ask, size: float, name: str = "") -> Volume:
    """A new volume, billing from now on."""
    id, meter = house.number(), Meter(house.world.now)
    made = Volume(id, owner, name or f"V.{id}", size, ask, meter, house.now)
    house.volumes[id] = made
    house.world.charge(meter, {"disk": prices.disk_hour(ask.storage, Decimal(str(size)))})
    return made


def row(house: House, volume: Volume) -> dict[str, Any]:
    return {
        **{name: volume.ask.row.get(name) for name in (*OF_BOTH, *OF_A_VOLUME)},
        "id": volume.id,
        "label": volume.name,
        "status": "created",
        "disk_space": volume.size,
        "start_date": house.stamped(volume.born),
        "storage_total_cost": prices.shown(prices.disk_hour(volume.ask.storage, Decimal(str(volume.size)))),
        "instances": [{"id": int(machine.id)} for machine in users(house, volume)],
    }


def users(house: House, volume: Volume) -> list[Machine]:
    return [each for each in house.world.living.values() if contract_of(each).volume == volume.id]


def attach(house: House, machine: Machine) -> None:
    """The volume of a create: made with it, or linked (`check_volume` has looked at it)."""
    contract = contract_of(machine)
    wanted = contract.order.volume
    if wanted is None:
        return
    if wanted["create_new"]:
        made = make(house, contract.owner, contract.ask, float(wanted["size"]), str(wanted.get("name") or ""))
        contract.volume = made.id
        return
    contract.volume = int(wanted["volume_id"])


def check_volume(house: House, owner: int, ask: Ask, wanted: Mapping[str, Any] | None) -> None:
    """A volume is bound to one machine (providers.md 2.10). Raises Refused; its status and words are invented."""
    if wanted is None:
        return
    known = house.volumes.get(int(number(wanted["volume_id"]) or 0))
    if wanted["create_new"]:
        if int(number(wanted["volume_id"]) or 0) != int(ask.row["avail_vol_ask_id"]):
            raise refusals.invalid("Invalid args: volume_id is not the volume offer of this machine", ask.id)
    elif known is None or known.owner != owner:
        raise refusals.refused(404, "no_such_volume", "Volume with that ID does not exist.")
    elif known.ask.machine != ask.machine:
        raise refusals.invalid("Invalid args: the volume is on another machine (wording invented)", ask.id)
