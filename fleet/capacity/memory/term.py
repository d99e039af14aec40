"""One item of the peak."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Term:
    """bytes: on one GPU. source: what it was computed by. knob: the configuration key that changes it, or nothing.

    kind: state (exact by definition), counted (of operations), outside (of PyTorch's allocator).
    """

    name: str
    bytes: float
    source: str
    knob: str = ""
    kind: str = "counted"
