"""The life of an instance: provisioning, running, stopped, outbid, exited, gone (providers.md 2.7)."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from functools import partial

from fleet.simulators.disembody import disembody
from fleet.simulators.embody import embody
from fleet.simulators.machine import Machine
from fleet.simulators.vast import inside
from fleet.simulators.vast.contract import SSH, Contract, contract_of
from fleet.simulators.vast.house import House, stock_key

OCI = "Error response from daemon: OCI runtime create failed: (wording invented)"


def later(house: House, machine: Machine, seconds: float, act: Callable[[], None]) -> None:
    """`act()` in virtual seconds, unless it was stopped, restarted or ended in between."""
    contract = contract_of(machine)
    life = contract.life

    def still() -> None:
        if contract.life == life and contract.intended == "running":
            act()

    house.world.after(seconds, still, machine)


def bill(house: House, machine: Machine) -> None:
    """Its meter at what it costs now."""
    house.world.charge(machine.meter, contract_of(machine).rates())
    machine.state = contract_of(machine).actual or "null"


def begin(house: House, machine: Machine, fresh: bool = True) -> None:
    """Provisioning starts; `fresh`: nothing is there yet, the image has to be pulled."""
    contract, timing = contract_of(machine), house.timing
    contract.life += 1
    contract.intended = contract.current = contract.next = "running"
    contract.outbid, contract.message, contract.actual = False, None, None if fresh else "loading"
    bill(house, machine)
    if "scheduling_forever" in machine.quirks and not fresh:
        contract.message = "scheduling (wording invented)"
        return
    if not fresh:
        later(house, machine, timing.resume, lambda: load(house, machine))
        return
    later(house, machine, timing.created, lambda: become(house, machine, "created", "creating container"))
    later(house, machine, timing.loading, lambda: pulling(house, machine))


def pulling(house: House, machine: Machine) -> None:
    """The image comes, in nine layers; perhaps never."""
    become(house, machine, "loading", "pulling layer 1/9")
    if "never_leaves_loading" in machine.quirks or "stuck_provisioning" in machine.quirks:
        return
    wait = house.timing.pull
    later(house, machine, wait / 2, lambda: become(house, machine, "loading", "pulling layer 5/9"))
    later(house, machine, wait, lambda: load(house, machine))


def load(house: House, machine: Machine) -> None:
    """The container is started."""
    contract = contract_of(machine)
    if "oci_create_failed" in machine.quirks:
        become(house, machine, "created", OCI)
        return
    contract.address = str(contract.ask.row["public_ipaddr"])
    life = contract.life
    embody(
        house.world,
        machine,
        inside.spec(house, machine),
        started=lambda: running(house, machine),
        failed=lambda words: become(house, machine, "created", f"Error response from daemon: {words}"),
        exited=lambda code: exited(house, machine, code) if contract.life == life else None,
    )


def running(house: House, machine: Machine) -> None:
    """It runs, and its GPUs bill."""
    contract, quirks = contract_of(machine), machine.quirks
    if house.world.bodies.real:
        contract.address = "127.0.0.1"
    contract.begun = house.now
    contract.ports = inside.mapped(house, machine)
    if "running_no_ssh" in quirks or "no_direct_ports" in quirks:
        contract.ports = None if "running_no_ssh" in quirks else {}
    elif "ssh_refused" in quirks and SSH in contract.ports:
        contract.ports[SSH] = [{"HostIp": "0.0.0.0", "HostPort": "1"}]
        contract.address = "127.0.0.1"
    become(house, machine, "running", f"success, running {contract.image}/{contract.order.runtype or 'ssh'}")
    for knob, state in (("host_offline", "offline"), ("unknown_heartbeat", "unknown"), ("frozen", "frozen")):
        if knob in quirks:
            wait = float(quirks[knob].get("seconds", 60))
            later(house, machine, wait, partial(become, house, machine, state, None))
    if "self_exit" in quirks:
        code = int(quirks["self_exit"].get("code", 1))
        wait = float(quirks["self_exit"].get("seconds", 60))
        later(house, machine, wait, lambda: exited(house, machine, code))
    if "ip_change" in quirks:
        later(house, machine, float(quirks["ip_change"].get("seconds", 60)), lambda: moved(contract))


def moved(contract: Contract) -> None:
    """Another address (providers.md 2.8: may change unless static_ip)."""
    contract.address = f"198.51.100.{contract.id % 250}"


def become(house: House, machine: Machine, state: str, words: str | None) -> None:
    """A new actual_status, and its price."""
    contract = contract_of(machine)
    contract.actual, contract.message = state, words
    if state == "offline":
        disembody(machine)
    bill(house, machine)


def exited(house: House, machine: Machine, code: int) -> None:
    """Its container ended by itself: failed, and never running again (providers.md 2.7)."""
    contract = contract_of(machine)
    remember(machine)
    disembody(machine)
    contract.begun, contract.ports = None, None
    become(house, machine, "exited", f"container exited with {code} (wording invented)")


def stop(house: House, machine: Machine, outbid: bool = False) -> None:
    """Stopped by its user, by the market or by an empty account: no GPUs any more, the disk stays and bills."""
    contract = contract_of(machine)
    remember(machine)
    disembody(machine)
    house.world.give_back(machine)
    contract.life += 1
    contract.intended = contract.current = contract.next = "stopped"
    contract.ports, contract.begun, contract.outbid = None, None, outbid
    # cur_state = intended_status = next_state = "stopped" is all that tells of it (dstack's detector)
    contract.actual = "exited"
    contract.message = None
    bill(house, machine)


def start(house: House, machine: Machine) -> bool:
    """Back to work when its GPUs are free; else it stays scheduling, which may last for ever (providers.md 2.7)."""
    contract = contract_of(machine)
    if contract.end <= house.now:
        return False
    if machine.stock is None and not taken(house, machine):
        contract.life += 1
        contract.intended = contract.next = "running"
        contract.message = "scheduling (wording invented)"
        again(house, machine)
        return True
    begin(house, machine, fresh=contract.actual is None)
    return True


def again(house: House, machine: Machine) -> None:
    """Looks for its GPUs now and then."""

    def look() -> None:
        if taken(house, machine):
            begin(house, machine, fresh=False)
        else:
            again(house, machine)

    later(house, machine, 30, look)


def taken(house: House, machine: Machine) -> bool:
    """Its slice's GPUs are its own now, if they were free and its bid still wins."""
    contract = contract_of(machine)
    wins = contract.order.bid is None or contract.order.bid >= contract.ask.bid
    if not wins or not house.free(contract.ask):
        return False
    return house.world.take_stock(machine, stock_key(contract.ask), int(contract.ask.row["num_gpus"]))


def outbid(house: House, machine: Machine, seconds: float | None, least: Decimal | None = None) -> None:
    """Somebody bids more: no event, no warning. It resumes by itself when its bid wins again."""
    contract = contract_of(machine)
    before = contract.ask.bid
    bid = contract.order.bid or contract.base
    contract.ask.bid = max(before, least if least is not None else bid * Decimal("1.1"))
    stop(house, machine, outbid=True)

    def cheaper() -> None:
        contract.ask.bid = before
        resume(house, machine)

    house.world.after(house.timing.outbid if seconds is None else seconds, cheaper, machine)


def resume(house: House, machine: Machine) -> None:
    """An outbid one whose bid wins (again) runs by itself; nobody asked it to (providers.md 2.7)."""
    if contract_of(machine).outbid and taken(house, machine):
        begin(house, machine, fresh=contract_of(machine).actual is None)


def expire(house: House, machine: Machine) -> None:
    """The rental's end date: stopped, and deleted about 48 hours later."""
    stop(house, machine)
    house.world.after(48 * 3600, lambda: destroy(house, machine, "expired"), machine)


def destroy(house: House, machine: Machine, why: str) -> None:
    """Gone, with its disk."""
    contract = contract_of(machine)
    contract.life += 1
    contract.current = contract.next = "unloaded"
    remember(machine)
    house.world.end(machine, why)
    house.world.bodies.drop_folder(inside.folder(contract))


def broke(house: House) -> None:
    """The credit is gone: everything stops, storage goes on billing, deletion is scheduled (providers.md 2.11)."""
    for machine in list(house.world.living.values()):
        if contract_of(machine).intended == "running":
            stop(house, machine)
        house.world.after(house.timing.deletion, partial(unpaid, house, machine), machine)


def unpaid(house: House, machine: Machine) -> None:
    if house.world.credit <= 0:
        destroy(house, machine, "no credit")


def remember(machine: Machine) -> None:
    """What its container wrote stays readable after the container."""
    if machine.body is not None:
        contract_of(machine).log = [line.text for line in machine.body.lines()]
