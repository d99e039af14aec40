"""Bids: USD per hour of the whole slice (providers.md 2.5). A create without one is on demand at the full price (0.2,
point 9), and one at that price or above pays more than it must for a machine that can be taken away."""

from __future__ import annotations

from decimal import ROUND_DOWN, Decimal

from fleet.offers import vast as search
from fleet.providers.outcomes import Because, NotCreated
from fleet.providers.values import Order
from fleet.providers.vast.rows import usd
from fleet.wire import fields
from fleet.wire.line import Line
from profiles.errors import WrongInput

LEAST, MOST = Decimal("0.001"), Decimal(128)
STEP = Decimal("0.0001")


def price(order: Order) -> Decimal:
    """The bid as it is sent. Raises WrongInput without one that Vast takes, NotCreated above the order's limit."""
    if order.bid_usd_hour is None:
        raise WrongInput("an interruptible offer of vast without a bid", "give a bid in USD per hour, whole machine")
    bid = order.bid_usd_hour.quantize(STEP, ROUND_DOWN)
    if not LEAST <= bid <= MOST:
        raise WrongInput(f"vast takes bids of {LEAST} to {MOST} USD/h, not {bid}", "give another bid")
    if bid > order.most_usd_hour:
        raise NotCreated(Because.INVALID, f"a bid of {bid} USD/h is above the limit of {order.most_usd_hour}")
    return bid


def worth(bid: Decimal, order: Order, on_demand: Decimal | None) -> float:
    """`bid` for the request. on_demand: USD/h of the same slice, None when that is not known. Raises NotCreated."""
    if on_demand is not None and bid >= on_demand:
        what = f"vast: a bid of {bid} USD/h, and on demand offer {order.offer.id} costs {on_demand}"
        raise NotCreated(Because.CAPACITY, what, "take it on demand, or bid less")
    return float(bid)


def on_demand(line: Line, order: Order) -> Decimal | None:
    """What the offer's slice costs on demand without its disk; None when that is not told: it may be offered to bids
    only."""
    wanted = {"id": {"eq": int(order.offer.id)}, "type": search.TYPES["on-demand"], "order": [["dph_total", "asc"]]}
    disk = order.container.disk_gb
    answer = line.search("/api/v0/bundles/", {**wanted, "limit": 1, "allocated_storage": disk})
    for row in fields.rows(answer.get("offers") if isinstance(answer, dict) else None):
        if fields.text(row, "id") == order.offer.id:
            return usd(row, "dph_base")
    return None
