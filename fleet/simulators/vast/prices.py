"""Vast's prices (providers.md 2.4): USD/h of the slice, storage in USD/GB/month of 720 h."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

MONTH = 720  # hours; exact in the spec's own example: 10 GB at 0.149333 = 0.00207407 an hour


def disk_hour(storage_cost: Decimal, disk_gb: Decimal) -> Decimal:
    """What `disk_gb` cost an hour, in USD."""
    return storage_cost * disk_gb / MONTH


def total(base: Decimal, storage_cost: Decimal, disk_gb: Decimal) -> Decimal:
    """dph_total of a slice at `base` USD/h with this disk."""
    return base + disk_hour(storage_cost, disk_gb)


def split(base: Decimal, disk: Decimal) -> dict[str, float]:
    """The `search` and `instance` views of a price, USD/h."""
    return {
        "gpuCostPerHour": shown(base),
        "diskHour": shown(disk),
        "totalHour": shown(base + disk),
        "discountTotalHour": 0,
        "discountedTotalPerHour": shown(base + disk),
    }


def shown(usd: Decimal) -> float:
    """As the API writes it: a JSON number of six places."""
    return round(float(usd), 6)


def read(value: Any) -> Decimal:
    """A number of a request as money or size, without binary dust."""
    return Decimal(str(value))
