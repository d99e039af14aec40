"""A row of the results: samples, medians, and whether the reach was met."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any


@dataclass
class Row:
    """samples: by name, every figure taken; median, ratio: what the reach is about; met: None when not comparable."""

    what: str
    reach: str
    met: bool | None
    shown: str
    against_shown: str = "-"
    ratio: float | None = None
    samples: Mapping[str, Sequence[float]] = field(default_factory=dict)
    notes: Sequence[str] = ()

    @property
    def medians(self) -> dict[str, float]:
        return {name: round(median(values), 4) for name, values in self.samples.items() if values}

    def to_json(self) -> dict[str, Any]:
        value = asdict(self)
        value["samples"] = {name: [round(one, 4) for one in values] for name, values in self.samples.items()}
        value["median"] = self.medians
        value["ratio"] = round(self.ratio, 3) if self.ratio is not None else None
        value["ratio_shown"] = f"{self.ratio:.2f}x" if self.ratio is not None else "-"
        return value


def seconds(value: float) -> str:
    return f"{value:.2f} s"


def megabytes(value: float) -> str:
    return f"{value / 1e6:.2f} MB" if value < 10e6 else f"{value / 1e6:.0f} MB"
