"""What Vast charged for an instance (providers.md 2.11): GPU, disk and bytes, by contract."""

from __future__ import annotations

import json
from datetime import datetime
from decimal import Decimal
from typing import Any

from fleet.providers.bills import Billed
from fleet.providers.vast.answers import PROVIDER, agreed
from fleet.providers.vast.rows import signed
from fleet.wire import fields
from fleet.wire.failed import ProviderFailed
from fleet.wire.line import Line

PATH = "/api/v0/charges/"
DAY = 86_400
PAGE, PAGES = 500, 40
TRAFFIC = ("bwd", "bwu")


def billed(line: Line, id: str, since: datetime, until: datetime) -> Billed | None:
    """The sum of the contract's charges; None without one, and when an amount cannot be read.

    `day` is given in whole days: whether a part of one counts is not told.
    """
    first, last = int(since.timestamp()) // DAY * DAY, (int(until.timestamp()) // DAY + 1) * DAY - 1
    filters = {"day": {"gte": first, "lte": last}, "type": {"in": ["instance"]}}
    query = {"select_filters": json.dumps(filters), "limit": str(PAGE)}
    usd: list[Decimal | None] = []
    traffic = Decimal(0)
    for _ in range(PAGES):
        answer = agreed(line.get(PATH, query), "the charges")
        if not isinstance(answer.get("results"), list):
            raise ProviderFailed(PROVIDER, "an answer without the list of charges", "ask again later")
        for row in fields.rows(answer["results"]):
            if fields.text(row, "source") == f"instance-{id}":
                usd.append(signed(row, "amount"))
                traffic += bytes_of(row)
        token = answer.get("next_token")
        if not isinstance(token, str) or not token:
            known = [amount for amount in usd if amount is not None]
            return Billed(sum(known, Decimal(0)), traffic) if known and len(known) == len(usd) else None
        query["after_token"] = token
    raise ProviderFailed(PROVIDER, f"more than {PAGE * PAGES} charges", "look into its console")


def bytes_of(row: dict[str, Any]) -> Decimal:
    """The charges for traffic in a contract's items."""
    items = [one for one in fields.rows(row.get("items")) if fields.text(one, "type") in TRAFFIC]
    return sum((signed(one, "amount") or Decimal(0) for one in items), Decimal(0))
