"""What Vast charged: page by page, by contract, and nothing that cannot be read (providers.md 2.11)."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from fleet.providers.bills import Billed
from fleet.providers.vast.client import Vast
from fleet.wire.failed import ProviderFailed
from tests.fleet.offers.market import reply
from tests.fleet.providers.vast.desk import Desk

ID = "20118481"
SINCE, UNTIL = datetime(2026, 11, 20, 9, tzinfo=UTC), datetime(2026, 11, 21, 12, tzinfo=UTC)
CHARGES = "GET /api/v0/charges/"


def row(amount: Any = 17.0, id: str = ID, **items: float) -> dict[str, Any]:
    parts = [{"type": name, "amount": usd, "items": []} for name, usd in items.items()]
    return {"type": "instance", "source": f"instance-{id}", "amount": amount, "metadata": {}, "items": parts}


def page(*rows: dict[str, Any], token: str | None = None) -> Any:
    return reply({"success": True, "count": len(rows), "total": 9, "next_token": token, "results": list(rows)})


def test_every_page_counts_and_only_this_machine(desk: Desk, vast: Vast):
    desk.first(CHARGES, page(row(gpu=16.0, bwd=0.75, bwu=0.25), row(id="1"), token="abc"), page(row(0.5)))
    assert vast.billed(ID, SINCE, UNTIL) == Billed(Decimal("17.5"), Decimal("1.0"))
    first, second = desk.sent("GET", "/api/v0/charges/")
    day = json.loads(first.query["select_filters"])["day"]
    assert day == {"gte": 1795132800, "lte": 1795305599}  # whole days
    assert second.query["after_token"] == "abc"


@pytest.mark.parametrize("rows", [(), (row(id="1"),), (row("much"),), (row(), row(None))])
def test_a_bill_that_is_not_there_or_cannot_be_read_is_none(desk: Desk, vast: Vast, rows: Any):
    desk.first(CHARGES, page(*rows))
    assert vast.billed(ID, SINCE, UNTIL) is None


def test_an_answer_without_charges_is_a_failure(desk: Desk, vast: Vast):
    desk.first(CHARGES, reply({"success": True}))
    with pytest.raises(ProviderFailed):
        vast.billed(ID, SINCE, UNTIL)
