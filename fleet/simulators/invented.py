"""What a simulator does because something had to be done, and nobody knows what the provider does there.

Shown at /_sim/invented: a green test is no live proof of these.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Invented:
    """One behaviour: what the simulator does, and why it had to be invented (the open question, if it is one)."""

    what: str
    why: str
    knob: str = ""  # the fault or option that changes it

    def shown(self) -> dict[str, str]:
        return asdict(self)


CORE = (
    Invented("SIGTERM, ten real seconds, then SIGKILL when a machine ends", "no provider says how it ends a container"),
    Invented("prices, stock and availability stand still unless the admin channel changes them", "a market cannot be"),
    Invented("`vanish` without `reads` also ends the billing", "a host that is lost cannot be seen to bill"),
)
