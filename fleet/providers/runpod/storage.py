"""Network volumes: they bill until they are deleted, whatever becomes of the pods (providers.md 1.12)."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from fleet.offers.runpod import PROVIDER
from fleet.providers.runpod.pages import listed, row_id
from fleet.providers.values import Volume
from fleet.wire import fields
from fleet.wire.line import Line

PATH = "/v2/network-volumes"
MONTH, MONTH_ABOVE, ABOVE = Decimal("0.07"), Decimal("0.05"), 1000  # USD per GB and month; the lower from 1 TB on


def volumes(line: Line) -> list[Volume]:
    """All of the account's."""
    return [volume(row) for row in listed(line, PATH, "networkVolumes")]


def volume(row: dict[str, Any]) -> Volume:
    """One of them. Its price is told by the documents, and only for the standard tier."""
    size = fields.whole(row, "size") or 0
    standard = fields.text(row, "type").upper() in ("STANDARD", "")
    price = MONTH * min(size, ABOVE) + MONTH_ABOVE * max(0, size - ABOVE)
    return Volume(
        PROVIDER,
        row_id(row, "networkVolumes"),
        fields.text(row, "name"),
        size,
        fields.text(row, "dataCenter"),
        usd_month=price if standard and size else None,
        tier="secure",  # (1.12)
    )
