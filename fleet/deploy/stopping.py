"""What a stop keeps of a run: asked and told before it is done, since one provider's stop wipes the disk."""

from __future__ import annotations

from dataclasses import dataclass

from fleet.ledger.values import Run
from fleet.providers.provider import Provider
from profiles.errors import Refused

WIPED = "stopped disk"  # as in fleet/providers/provider.py


@dataclass(frozen=True, slots=True)
class Stop:
    """ahead: for the question; after: once it is stopped."""

    ahead: str
    after: str


def stop_of(provider: Provider, run: Run, volume: str) -> Stop:
    """What becomes of the run's machine. volume: the id of the one that the run writes to, "" for none.

    Raises Refused where everything would be lost: the disk is wiped, and the run is nowhere else (providers.md 1.12).
    """
    if WIPED not in provider.lacks:
        if provider.name == "local":
            return Stop("its disk stays", "its disk stays here")
        return Stop("its disk bills on until it is terminated", "its disk bills on")
    if volume:
        return Stop(
            f"its own disk is wiped; volume {volume} stays, and bills by itself",
            f"its own disk is wiped and bills no more; volume {volume} stays, and bills by itself",
        )
    if run.remote:
        return Stop(
            "its disk is wiped: what is not at its remote by then is lost",
            f"its disk is wiped and bills no more; what it sent is at {run.remote}",
        )
    raise Refused(
        f"a stop at {provider.name} wipes the machine's disk, and `{run.name}` is nowhere else: it has no remote and "
        "no volume",
        f"let it run on (./inv logs {run.name}); to end it, with all that is on it: ./inv terminate {run.name}",
    )
