"""A machine as the simulator knows it: the truth, whatever its API says of it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from fleet.simulators.bodies.body import Body
from fleet.simulators.meter import Meter

WISHES = ("STOKER_WISH", "STOKER_RUN")  # the environment that says for which wish a machine was made


@dataclass
class Machine:
    """One rental, from the moment it was committed. Times are microseconds since 1970."""

    id: str
    tag: str  # RunPod's name, Vast's and Hyperbolic's label
    env: dict[str, str]  # never shown: its values are secrets
    made: int
    meter: Meter
    facts: dict[str, Any]  # the provider's own record
    state: str = ""  # the provider's own word
    folder: str = ""  # its own volume, removed at its end
    quirks: dict[str, dict[str, Any]] = field(default_factory=dict)  # faults it was born with, by knob
    body: Body | None = None
    exited: Callable[[int], None] | None = None  # told when the body ends by itself
    ending: threading.Thread | None = None  # the body before, on its way out
    ended: int | None = None
    why: str = ""
    stock: tuple[str, int] | None = None  # what it holds of World.stock
    hidden_reads: int = 0  # of the list, while it is new
    hidden_until: int = 0
    lingering_reads: int = 0  # of the list, once it is gone
    lingering_until: int = 0

    @property
    def wish(self) -> str:
        """The wish or run that its environment names; empty without one."""
        return next((self.env[name] for name in WISHES if self.env.get(name)), "")

    @property
    def alive(self) -> bool:
        return self.ended is None

    def hide(self, lag: Mapping[str, Any], now: int) -> None:
        """Not in lists for `reads` of them, or `seconds` (the knob list.lag)."""
        self.hidden_reads, self.hidden_until = int(lag.get("reads", 0)), now + _micros(lag)

    def linger(self, lag: Mapping[str, Any], now: int) -> None:
        """Still in lists for as long after its end."""
        self.lingering_reads, self.lingering_until = int(lag.get("reads", 0)), now + _micros(lag)


def _micros(lag: Mapping[str, Any]) -> int:
    return round(float(lag.get("seconds", 0)) * 1_000_000)
