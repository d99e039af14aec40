"""What really happened at a provider, for assertions: every machine ever, what it cost, and sums per tag and wish."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from fleet.simulators.clock import moment
from fleet.simulators.machine import Machine
from fleet.simulators.world import World


def rentals(world: World) -> dict[str, Any]:
    """The admin channel's answer. Money is text in USD; no environment is shown."""
    with world.lock:
        world.catch_up()
        machines = list(world.machines.values())
        return {
            "now": moment(world.now).isoformat(),
            "credit_usd": str(world.credit),
            "usd_per_hour": str(world.rate),
            "alive": sum(machine.alive for machine in machines),
            "rentals": [_row(machine, world.now) for machine in machines],
            "per_tag": _sums(machines, lambda machine: machine.tag, world.now),
            "per_wish": _sums(machines, lambda machine: machine.wish, world.now),
        }


def _row(machine: Machine, now: int) -> dict[str, Any]:
    return {
        "id": machine.id,
        "tag": machine.tag,
        "wish": machine.wish,
        "state": machine.state,
        "alive": machine.alive,
        "made": moment(machine.made).isoformat(),
        "ended": None if machine.ended is None else moment(machine.ended).isoformat(),
        "why": machine.why,
        "billed_usd": str(machine.meter.spent(now)),
        "usd_per_hour": str(machine.meter.rate),
        "quirks": sorted(machine.quirks),
    }


def _sums(machines: Iterable[Machine], key: Callable[[Machine], str], now: int) -> dict[str, Any]:
    groups: dict[str, list[Machine]] = {}
    for machine in machines:
        if key(machine):
            groups.setdefault(key(machine), []).append(machine)
    return {
        name: {
            "commits": len(group),
            "billed": sum(machine.meter.spent(now) > 0 for machine in group),
            "alive": sum(machine.alive for machine in group),
            "most_at_once": _most_at_once(group, now),
            "billed_usd": str(sum(machine.meter.spent(now) for machine in group)),
        }
        for name, group in groups.items()
    }


def _most_at_once(group: list[Machine], now: int) -> int:
    """How many of them existed at one moment; one that ends when the next begins is not beside it."""
    steps = [(machine.made, 1) for machine in group]
    steps += [(machine.ended, -1) for machine in group if machine.ended is not None and machine.ended > machine.made]
    for machine in group:
        if machine.ended is not None and machine.ended == machine.made:
            steps.append((machine.made, -1))
    most = here = 0
    for _, step in sorted(steps):
        here += step
        most = max(most, here)
    return most
