"""Which bodies: by the name on the command line."""

from __future__ import annotations

from fleet.simulators.bodies.body import Bodies
from fleet.simulators.bodies.state import State

KINDS = ("none", "process", "docker")


def open_bodies(kind: str, state: State, command: str = "", network: str = "host") -> Bodies:
    """Bodies of `kind`; what a killed run has left in `state` is removed first.

    Raises ValueError for an unknown kind or process bodies without a command, BodyFailed without an engine.
    """
    if kind == "none":
        from fleet.simulators.bodies.nothing import NoBodies

        return NoBodies(state)
    if kind == "process":
        from fleet.simulators.bodies.process import Processes

        return Processes(state, command)
    if kind == "docker":
        from fleet.simulators.bodies.container import Containers

        return Containers(state, network)
    raise ValueError(f"no such bodies: {kind}; there are: {', '.join(KINDS)}")
