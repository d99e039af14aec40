"""What the ledger counted for a machine, held against its provider's own books: by stretches of time, not by luck."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from tests.fleet.story.rehearsal import Rehearsal

# RunPod's `cost` of a pod, and so the ledger's, is without its disk: 0.7 % of the smallest one.
NEAR = Decimal("0.02")
CENT = Decimal("0.01")
HOUR = timedelta(hours=1)
Stretch = tuple[datetime, datetime, Decimal]


def counted_as_billed(user: Rehearsal, rows: list[dict[str, Any]], lost: dict[str, str]) -> None:
    """rows: machines by the simulator's books, all ended; lost: when some were preempted.

    The ledger counts each from its order to the proof that it was gone, without a gap, so never less than its life. In
    its life that comes to what was billed, within 2 %; more only for the time that some providers do not bill and
    nobody can see: while it came up, and from its preemption to our next look.
    """
    attempts = {one["tag"]: one for one in user.ledger("attempts")}
    known = {one["id"]: one for one in user.ledger("instances")}
    ready = {one["instance"]: time(one["at"]) for one in user.ledger("events") if one["kind"] == "ready"}
    told = user.ledger("segments")
    total = Decimal(0)
    for row in rows:
        id, billed = row["id"], Decimal(row["billed_usd"])
        counted = [stretch(one) for one in told if one["instance"] == id]
        made, ended = time(row["made"]), time(row["ended"])
        edges = [counted[0][0], *(until for _, until, _ in counted)]
        assert edges[:-1] == [since for since, _, _ in counted], "no time is left out or counted twice"
        assert edges[0] == time(attempts[row["tag"]]["sent"]) <= made, "from the order on"
        assert edges[-1] == time(known[id]["ended"]) >= ended, "until it was proven gone"
        life = sum((cost(one, made, ended) for one in counted), Decimal(0))
        unseen = ready[id] - made
        if id in lost:
            unseen += min(ended, *(edge for edge in edges if edge >= time(lost[id]))) - time(lost[id])
        more = max(price for _, _, price in counted) * hours(unseen)
        assert billed * (1 - NEAR) <= life <= billed * (1 + NEAR) + more, (row, counted)
        total += sum((cost(one, edges[0], edges[-1]) for one in counted), Decimal(0))
    (run,) = user.ledger("costs")
    assert abs(Decimal(run["usd"]) - total) < CENT, "the run's cost is that of its machines"


def stretch(row: dict[str, Any]) -> Stretch:
    return time(row["since"]), time(row["until"]), Decimal(row["usd_hour"])


def cost(one: Stretch, since: datetime, until: datetime) -> Decimal:
    """USD of the part of a stretch between two times."""
    start, end, price = max(one[0], since), min(one[1], until), one[2]
    return price * hours(end - start) if end > start else Decimal(0)


def hours(span: timedelta) -> Decimal:
    return Decimal(span / HOUR)


def time(text: str) -> datetime:
    return datetime.fromisoformat(text)
