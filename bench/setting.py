"""What every row of the image benchmark works with."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from bench.checkout import Checkout
from bench.engine import Docker
from bench.measure import Sample


@dataclass
class Setting:
    """folder: scratch; registry: HOST:PORT with the base of `size` bytes; docker, skopeo: None when not compared with.

    checkout: locked, not built yet; changes: how many were made; peaks: all samples of ours by what they did.
    """

    folder: Path
    registry: str
    size: int
    runs: int
    docker: Docker | None
    skopeo: str | None
    checkout: Checkout
    changes: int = 0
    peaks: dict[str, list[Sample]] = field(default_factory=dict)

    def change(self) -> int:
        """One more one-line change to the trainer, committed; its number."""
        self.changes += 1
        self.checkout.change(self.changes)
        return self.changes

    def keep(self, what: str, sample: Sample) -> Sample:
        self.peaks.setdefault(what, []).append(sample)
        return sample
