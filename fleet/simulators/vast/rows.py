"""An instance as the API shows it (providers.md 2.6): `start_date` and `extra_env` pairs always, or the official client
falls over."""

from __future__ import annotations

from typing import Any

from fleet.simulators.faults import Faults
from fleet.simulators.machine import Machine
from fleet.simulators.vast import prices
from fleet.simulators.vast.contract import Contract, contract_of
from fleet.simulators.vast.house import House

# columns of the contract record; everything else is computed, and no filter (providers.md 2.6)
STORED = (
    *("id", "label", "actual_status", "cur_state", "next_state", "intended_status", "gpu_name", "verification"),
    *("machine_id", "host_id", "image_uuid", "image_runtype", "template_id", "template_hash_id", "geolocation"),
    *("is_bid", "start_date", "end_date", "driver_version", "cuda_max_good", "gpu_ram", "gpu_arch", "static_ip"),
)
FROM_OFFER = (
    *("machine_id", "host_id", "gpu_name", "gpu_arch", "num_gpus", "gpu_ram", "gpu_frac", "gpu_lanes"),
    *("gpu_mem_bw", "bw_nvlink", "cuda_max_good", "driver_version", "cpu_arch", "cpu_name", "cpu_cores"),
    *("cpu_cores_effective", "cpu_ram", "disk_name", "disk_bw", "mobo_name", "pci_gen", "pcie_bw", "inet_up"),
    *("inet_down", "reliability2", "verification", "geolocation", "static_ip"),
    *("direct_port_count", "total_flops", "dlperf", "score", "external", "webpage", "os_version"),
)
UNKNOWN = "hibernating (invented)"


def row(house: House, machine: Machine) -> dict[str, Any]:
    """One row, with the faults that are set."""
    contract = contract_of(machine)
    faults = house.world.faults
    found = {
        **{name: contract.ask.row.get(name) for name in FROM_OFFER},
        **states(contract),
        **identity(contract),
        **connection(contract),
        **money(house, machine),
        "start_date": house.stamped(machine.made / 1_000_000),
        "end_date": house.stamped(contract.end),
        "duration": max(0.0, contract.end - house.now),
        "uptime_mins": None if contract.begun is None else round((house.now - contract.begun) / 60, 2),
        "gpu_util": 95.0 if contract.actual == "running" else None,
        "gpu_temp": 61.0 if contract.actual == "running" else None,
        "gpu_totalram": contract.ask.row["gpu_total_ram"],
        "disk_space": float(contract.order.disk),
        "disk_usage": 1.2,
        "rentable": False,
    }
    broken(found, faults)
    return found


def states(contract: Contract) -> dict[str, Any]:
    return {
        "actual_status": contract.actual,
        "intended_status": contract.intended,
        "cur_state": contract.current,
        "next_state": contract.next,
        "status_msg": contract.message,
    }


def identity(contract: Contract) -> dict[str, Any]:
    """What the user gave it. Variables come back as pairs, secrets of the request included [C]."""
    kind = contract.order.runtype or "ssh"
    return {
        "id": contract.id,
        "label": contract.label,
        "image_uuid": contract.image,
        "image_args": list(contract.order.args),
        "image_runtype": "args" if kind == "args" else f"ssh {kind}" if not kind.startswith("ssh ") else kind,
        "template_id": contract.template_id,
        "template_hash_id": contract.template_hash,
        "extra_env": [[name, value] for name, value in contract.order.env.items()],
        "onstart": contract.order.onstart,
    }


def connection(contract: Contract) -> dict[str, Any]:
    """Where it is: an address with blanks around it, a proxy, ports only while it runs."""
    real = contract.address == "127.0.0.1"
    number = contract.id % 9 + 1
    direct = (contract.ports or {}).get("22/tcp")
    return {
        **({"public_ipaddr": f" {contract.address}\n"} if contract.address else {}),
        "local_ipaddrs": "10.0.0.5 \n",
        "ssh_host": "127.0.0.1" if real else f"ssh{number}.vast.ai",
        "ssh_port": int(direct[0]["HostPort"]) if real and direct else 10_000 + contract.id % 10_000,
        "ssh_idx": str(number),
        "machine_dir_ssh_port": 21_000,
        "ports": contract.ports if contract.actual == "running" else None,
        "direct_port_start": -1,
        "direct_port_end": -1,
    }


def money(house: House, machine: Machine) -> dict[str, Any]:
    """`dph_total` as if it ran; `instance.totalHour` what it costs now (disk only while stopped)."""
    contract = contract_of(machine)
    whole = contract.base + contract.disk_hour
    now = contract.rates()
    gpu, disk = now.get("gpu", prices.read(0)), now.get("disk", prices.read(0))
    return {
        "dph_base": prices.shown(contract.base),
        "dph_total": prices.shown(whole),
        "storage_cost": float(contract.ask.storage),
        "storage_total_cost": prices.shown(contract.disk_hour),
        "min_bid": prices.shown(contract.ask.bid),
        "is_bid": contract.is_bid,
        "credit_balance": None,
        "credit_discount": None,
        "search": prices.split(contract.base, contract.disk_hour),
        "instance": prices.split(gpu, disk),
    }


def broken(found: dict[str, Any], faults: Faults) -> None:
    """The knobs that spoil a row."""
    unknown = faults.take("status.unknown_value")
    if unknown is not None:
        found["actual_status"] = unknown.get("value", UNKNOWN)
    if faults.take("status.missing") is not None:
        for name in ("actual_status", "cur_state", "next_state", "intended_status"):
            del found[name]
    if faults.take("price.missing") is not None:
        for name in ("dph_base", "dph_total", "instance", "search"):
            del found[name]
    if faults.take("price.string") is not None:
        found["dph_total"], found["dph_base"] = str(found["dph_total"]), str(found["dph_base"])
