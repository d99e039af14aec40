"""What RunPod billed for a pod (providers.md 1.14): past spend by bucket, up to an hour late."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

from fleet.providers.bills import Billed
from fleet.providers.runpod.pages import rows
from fleet.providers.runpod.read import money
from fleet.wire.line import Line

PATH = "/v2/billing/pods"


def billed(line: Line, id: str, since: datetime, until: datetime) -> Billed | None:
    """The sum of the pod's records; None without one, and when an amount cannot be read. RunPod has no traffic fees
    (1.12). The times are widened to whole days by the API itself, and a pod's id is never used again."""
    query = {"startTime": text(since), "endTime": text(until), "bucketSize": "day", "podId": id}
    mine = [row for row in rows(line.get(PATH, query), "records") if row.get("podId") == id]
    amounts = [money(row.get("totalAmount")) for row in mine]
    known = [amount for amount in amounts if amount is not None and amount >= 0]
    return Billed(sum(known, Decimal(0))) if known and len(known) == len(amounts) else None


def text(at: datetime) -> str:
    """RFC 3339 (0.4)."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
