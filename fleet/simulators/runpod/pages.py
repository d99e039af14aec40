"""Wrapped lists, with the newer cursor pages or without (providers.md 1.2)."""

from __future__ import annotations

import base64
import binascii
from typing import Any

from fleet.simulators.runpod.account import Account
from fleet.simulators.runpod.problems import invalid
from fleet.simulators.wire import Reply, Request

MOST = 1000


def page(account: Account, request: Request, name: str, rows: list[dict[str, Any]]) -> Reply:
    """`{name: rows, "pagination": ...}`. Raises Refused (422) for a limit or cursor that makes no sense.

    A cursor names the last id that was given, so that rows that come or go meanwhile neither repeat nor hide others.
    """
    if account.world.faults.take("pagination_off") is not None:
        return Reply(200, {name: rows})
    text = request.query.get("limit", str(MOST))
    if not text.isdecimal() or not 1 <= int(text) <= MOST:
        raise invalid(["$.limit: must be between 1 and 1000 (wording invented)"])
    start = _start(request.query.get("cursor", ""), name, rows)
    shown = rows[start : start + int(text)]
    more = start + len(shown) < len(rows)
    cursor = _cursor(name, shown[-1]["id"], start + len(shown)) if more else None
    return Reply(200, {name: shown, "pagination": {"nextCursor": cursor, "hasNextPage": more}})


def _cursor(name: str, last: str, at: int) -> str:
    return base64.urlsafe_b64encode(f"{name}/{last}/{at}".encode()).decode()


def _start(cursor: str, name: str, rows: list[dict[str, Any]]) -> int:
    if not cursor:
        return 0
    try:
        kind, last, at = base64.urlsafe_b64decode(cursor.encode()).decode().split("/")
        if kind != name:
            raise ValueError(kind)
        known = [row["id"] for row in rows]
        return known.index(last) + 1 if last in known else min(int(at), len(rows))
    except (ValueError, binascii.Error):
        raise invalid(["$.cursor: invalid (wording invented)"]) from None
