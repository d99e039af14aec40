"""What a user may wish for when a run is taken up. No torch, for the command line."""

from __future__ import annotations

from dataclasses import dataclass

CHANGES = ("precision", "data", "optim", "train", "curriculum")


@dataclass(frozen=True)
class Resume:
    """allow: which of CHANGES may differ from the checkpoint; step: from this checkpoint instead of the newest good
    one."""

    allow: frozenset[str] = frozenset()
    step: int | None = None
