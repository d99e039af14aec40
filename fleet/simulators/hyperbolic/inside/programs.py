"""nvidia-smi, nvidia-ctk, df, apt-get, apt-cache, systemctl and service of a simulated machine.

Run as `python -m fleet.simulators.hyperbolic.inside.programs MACHINE NAME ARGUMENTS...`, MACHINE being its folder:
machine.json says what it is. Only the standard library. All answers are invented but for their form.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

VERSIONS = {"nvidia-ctk": "NVIDIA Container Toolkit CLI version 1.17.4"}
# Debian package -> program that it puts there
PACKAGES = {"docker.io": "docker", "docker-ce": "docker", "nvidia-container-toolkit": "nvidia-ctk"}


def read(machine: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((machine / "machine.json").read_text())
    return found


def change(machine: Path, **facts: Any) -> None:
    """Facts of the machine, changed at once or not at all."""
    new = machine / f"machine.{os.getpid()}"
    new.write_text(json.dumps({**read(machine), **facts}))
    new.replace(machine / "machine.json")


def nvidia_smi(machine: Path, arguments: Sequence[str]) -> int:
    """The banner, -L, and --query-gpu in CSV."""
    facts = read(machine)
    gpus = int(facts["gpus"])
    query = next((word.partition("=")[2] for word in arguments if word.startswith("--query-gpu=")), "")
    style = next((word.partition("=")[2] for word in arguments if word.startswith("--format=")), "csv").split(",")
    if query:
        return queried(facts, query.split(","), style)
    if "-L" in arguments:
        for index in range(gpus):
            print(f"GPU {index}: {facts['name']} (UUID: GPU-{facts['id']}-{index})")
        return 0
    head = f"NVIDIA-SMI {facts['driver']}    Driver Version: {facts['driver']}    CUDA Version: {facts['cuda']}"
    print(f"+{'-' * 89}+\n| {head:<87} |\n+{'-' * 89}+")
    for index in range(gpus):
        print(f"| {index:>3}  {facts['name']:<40} {0:>6}MiB / {facts['memory']}MiB {'|':>20}")
    return 0


def queried(facts: dict[str, Any], names: list[str], style: list[str]) -> int:
    """One row per GPU; units unless `nounits`."""
    unit = "" if "nounits" in style else " MiB"
    percent = "" if "nounits" in style else " %"
    known = {
        **{"name": facts["name"], "gpu_name": facts["name"], "driver_version": facts["driver"]},
        **{
            "memory.total": f"{facts['memory']}{unit}",
            "memory.used": f"0{unit}",
            "memory.free": f"{facts['memory']}{unit}",
        },
        **{"utilization.gpu": f"0{percent}", "compute_cap": facts["capability"], "count": str(facts["gpus"])},
    }
    wrong = [name for name in names if name not in {*known, "index", "uuid"}]
    if wrong:
        print(f'Field "{wrong[0]}" is not a valid field to query.')
        return 2
    if "noheader" not in style:
        print(", ".join(names))
    for index in range(int(facts["gpus"])):
        row = {**known, "index": str(index), "uuid": f"GPU-{facts['id']}-{index}"}
        print(", ".join(str(row[name]) for name in names))
    return 0


def nvidia_ctk(machine: Path, arguments: Sequence[str]) -> int:
    if list(arguments[:2]) == ["runtime", "configure"]:
        change(machine, configured=True)
    else:
        print(VERSIONS["nvidia-ctk"])
    return 0


def df(machine: Path, arguments: Sequence[str]) -> int:
    """One disk, at /, as big as the rented node's."""
    total = int(float(read(machine)["disk_gb"]) * 1e9 / 1024)
    used = min(total // 2, 6_000_000)
    print("Filesystem     1024-blocks     Used Available Capacity Mounted on")
    print(f"/dev/vda1 {total} {used} {total - used} {used * 100 // total}% /")
    return 0


def apt_get(machine: Path, arguments: Sequence[str]) -> int:
    """`install` puts the stand-ins of what was missing there; nothing else happens."""
    words = [word for word in arguments if not word.startswith("-") and "::" not in word]
    if words[:1] == ["install"]:
        for package in words[1:]:
            print(f"Setting up {package} (stand-in) ...")
            if package in PACKAGES:
                (machine / "missing" / PACKAGES[package]).rename(machine / "bin" / PACKAGES[package])
    return 0


def apt_cache(machine: Path, arguments: Sequence[str]) -> int:
    for package in arguments[1:]:
        print(f"{package}:\n  Installed: (none)\n  Candidate: 1.0-1")
    return 0


def services(machine: Path, arguments: Sequence[str]) -> int:
    """`restart docker` makes the engine read its settings."""
    if "docker" in arguments and {"restart", "start"} & set(arguments):
        change(machine, runtime=bool(read(machine).get("configured")) or bool(read(machine)["runtime"]), engine=True)
    return 0


PROGRAMS: dict[str, Callable[[Path, Sequence[str]], int]] = {
    **{"nvidia-smi": nvidia_smi, "nvidia-ctk": nvidia_ctk, "df": df, "apt-get": apt_get, "apt": apt_get},
    **{"apt-cache": apt_cache, "systemctl": services, "service": services},
}

if __name__ == "__main__":
    sys.exit(PROGRAMS[sys.argv[2]](Path(sys.argv[1]), sys.argv[3:]))
