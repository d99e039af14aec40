"""Everything a simulated Hyperbolic has, and the life of its rentals (providers.md 3.7)."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from fleet.simulators.bodies.body import Bodies, Spec
from fleet.simulators.embody import embody
from fleet.simulators.hyperbolic import gpus
from fleet.simulators.hyperbolic.machines import engine_of
from fleet.simulators.hyperbolic.options import Option, stock
from fleet.simulators.hyperbolic.rentals import Rental, invented_name, rental_of
from fleet.simulators.hyperbolic.vm import Built
from fleet.simulators.machine import Machine
from fleet.simulators.world import World

KNOBS = (
    *("500_after_commit", "500_before_commit", "option_vanishes_before_create", "form_factor_swap", "stuck_pending"),
    *("failed", "running_empty_ssh", "ssh_user_other", "port_not_22", "docker_missing", "nvidia_runtime_missing"),
    *("old_driver", "new_driver", "small_disk", "terminated_rows_listed", "label_echo", "second_terminate_200"),
    *("terminate_takes_id", "error_style", "status.lower_case", "host_lost"),
)
# what a machine may be born with
BIRTH = (
    *("form_factor_swap", "stuck_pending", "stuck_provisioning", "failed", "running_empty_ssh", "running_no_ssh"),
    *("ssh_refused", "ssh_wrong_key", "ssh_user_other", "port_not_22", "docker_missing", "nvidia_runtime_missing"),
    *("old_driver", "new_driver", "small_disk", "host_lost"),
)
SHORTEST, LONGEST = 134.0, 208.0  # seconds from the order to Running, as seen (providers.md 3.7)
SMALL_GB, USER = 20, "ubuntu"
FIRST_ID = 48_212


@dataclass
class Estate:
    """The state beside the world. keys: who may ask, empty: everybody whose key does not begin with "wrong"; lets_in:
    public SSH keys, as pasted into the web settings. Everything happens with the world's lock held."""

    world: World
    base: Bodies
    seed: int = 0
    keys: frozenset[str] = frozenset()
    lets_in: list[str] = field(default_factory=list)
    url: str = ""

    def __post_init__(self) -> None:
        self.options = stock(self.seed)
        self.last = FIRST_ID
        self.gone: list[Machine] = []
        self.boot: tuple[float, float] = (SHORTEST, LONGEST)
        for option in self.options:
            self.world.stock[key_of(option)] = option.left

    def counted(self) -> list[Option]:
        """The rows with what is left of each now."""
        for option in self.options:
            option.left = self.world.stock.get(key_of(option), 10**6)
        return self.options

    def rent(self, option: Option, label: str) -> Machine:
        """A rental, Pending. It costs nothing yet."""
        world = self.world
        self.last += 1
        quirks = world.faults.deal(BIRTH)
        jump = world.faults.take("price.jump")
        cents = Decimal(option.cents) * (1 if jump is None else Decimal(str(jump.get("factor", 2))))
        form = option.form_factor
        if "form_factor_swap" in quirks:
            form = "pcie" if form != "pcie" else "sxm5"
        named = label or invented_name(world.rng)
        rental = Rental(self.last, option, form, named, bool(label), cents)
        machine = world.commit(str(self.last), label, {}, {"rental": rental}, "Pending")
        machine.quirks.update(quirks)
        world.take_stock(machine, key_of(option), 1)
        if "failed" in quirks:
            world.after(self._boots(), lambda: self._fail(machine), machine)
        elif not {"stuck_pending", "stuck_provisioning"} & set(quirks):
            world.after(self._boots(), lambda: self._boot(machine), machine)
        return machine

    def end(self, machine: Machine, why: str) -> None:
        """Gone with its disk; some lists may still show it."""
        rental_of(machine).status = "Terminated (invented)"
        machine.state = "Terminated"
        self.gone.append(machine)
        self.world.end(machine, why)

    def broke(self) -> None:
        """The balance is 0: machines end (providers.md 3.7)."""
        for machine in list(self.world.living.values()):
            self.end(machine, "no credit")

    def built(self, id: str) -> Built:
        """What the machine of this id (of its body) is."""
        machine = self.world.machines[id.removeprefix("hyperbolic-")]
        rental, quirks = rental_of(machine), machine.quirks
        option = rental.option.row
        card = gpus.card(str(option["gpuType"]), rental.delivered)
        version, cuda = gpus.driver(str(option["gpuType"]), rental.delivered, str(option["region"]))
        if "old_driver" in quirks:
            version, cuda = gpus.OLD
        if "new_driver" in quirks:
            version, cuda = gpus.NEW
        program, command = engine_of(self.base)
        bare = "nvidia_runtime_missing" in quirks
        facts: dict[str, Any] = {
            **{"name": card.name, "memory": card.memory, "capability": card.capability, "gpus": option["gpuCount"]},
            **{"driver": version, "cuda": cuda, "docker": program, "command": command, "runtime": not bare},
            **{"engine": "docker_missing" not in quirks},
            "disk_gb": quirks.get("small_disk", {}).get("gb", SMALL_GB) if "small_disk" in quirks else storage(option),
        }
        missing = [*(["docker"] if "docker_missing" in quirks else []), *(["nvidia-ctk"] if bare else [])]
        keys = "" if "ssh_wrong_key" in quirks else "".join(f"{each}\n" for each in self.lets_in)
        rehearsal = {name: self.url for name in ("STOKER_HYPERBOLIC_URL", "STOKER_CLOCK") if self.url}
        return Built(id, facts, missing, keys, rehearsal)

    def _boots(self) -> float:
        return self.world.rng.uniform(*self.boot)

    def _boot(self, machine: Machine) -> None:
        spec = Spec(f"hyperbolic-{machine.id}", "")
        embody(
            self.world,
            machine,
            spec,
            started=lambda: self._run(machine),
            failed=lambda words: self._fail(machine, words),
            exited=lambda code: self.end(machine, "host lost"),
        )

    def _run(self, machine: Machine) -> None:
        """Running: it bills from now on, by the cent."""
        rental, quirks = rental_of(machine), machine.quirks
        rental.status = machine.state = "Running"
        rental.started = self.world.now
        rental.address = f"203.0.113.{rental.id % 250}"
        where = machine.body.port(22) if machine.body is not None else None
        if where is not None:
            rental.address, user = where[0], account()
            rental.ssh = (where[0], where[1], user)
        else:
            user = "stranger (invented)" if "ssh_user_other" in quirks else USER
            rental.ssh = (rental.address, 2222 if "port_not_22" in quirks else 22, user.split()[0])
        if {"running_empty_ssh", "running_no_ssh"} & set(quirks):
            rental.ssh = None
        elif "ssh_refused" in quirks:
            rental.ssh = ("127.0.0.1", 1, rental.ssh[2])
        self.world.charge(machine.meter, {"rental": rental.cents / 100})
        if "host_lost" in quirks:
            wait = float(quirks["host_lost"].get("seconds", 600))
            self.world.after(wait, lambda: self.end(machine, "host lost"), machine)

    def _fail(self, machine: Machine, words: str = "") -> None:
        """Never comes up; costs nothing; stays in lists until it is terminated (invented)."""
        rental = rental_of(machine)
        rental.status, rental.why = "Failed", words
        machine.state = "Failed"


def key_of(option: Option) -> str:
    """World.stock's name of a row."""
    names = ("gpuType", "gpuFormFactor", "gpuCount", "region", "connectionType", "machineType")
    return "/".join(str(option.row[name]) for name in names)


def storage(option: dict[str, Any]) -> int:
    return int(option["nodes"][0]["storageGb"])


def account() -> str:
    """Who one is on a machine that is a process of this one."""
    import getpass

    return getpass.getuser()
