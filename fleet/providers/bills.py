"""What a provider's own bill says of one machine, where it has such a request: RunPod and Vast (providers.md 0.2)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Protocol, runtime_checkable


@dataclass(frozen=True, slots=True)
class Billed:
    """usd: everything; traffic_usd: the part of it that is for bytes, which no clock of ours counts."""

    usd: Decimal
    traffic_usd: Decimal = Decimal(0)


@runtime_checkable
class Bills(Protocol):
    """A provider that tells it. The others say nothing but a balance."""

    def billed(self, id: str, since: datetime, until: datetime) -> Billed | None:
        """What was billed for a machine, ended or not, between these times at least; None: nothing yet, or a bill that
        cannot be read. Raises as every request."""
