"""What the ledger's story calls what was heard of a machine, and the words for it, whoever writes or reads them."""

from __future__ import annotations

from fleet.life.signs import Signs

HEARD = "heard"  # event: how far a run is
STOPPED, STARTED = "stopped", "started"  # events: of `./inv stop`, and of starting it again (fleet/resume/start.py)


def words(signs: Signs) -> str:
    """'step 120, saved step 100, 0.510 s a step'."""
    parts = [
        None if signs.step is None else f"step {signs.step}",
        None if signs.saved is None else f"saved step {signs.saved}",
        None if signs.seconds is None else f"{signs.seconds:.3f} s a step",
    ]
    return ", ".join(part for part in parts if part)
