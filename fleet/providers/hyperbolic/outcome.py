"""How a create at Hyperbolic ended (providers.md 0.1, 3.4, 3.6). The shape and the words of its errors are not known:
what they are judged by here are words that others' clients look for."""

from __future__ import annotations

from typing import Any

from fleet.offers.hyperbolic import PROVIDER
from fleet.providers.outcomes import Because, NotCreated, Unclear
from fleet.wire import fields
from fleet.wire.failed import key_step
from fleet.wire.line import Answered

BUSY, NOBODY = 30.0, 5.0  # seconds to wait after a 429 that names none, and when there was nobody to ask
CREDIT = ("balance", "credit", "insufficient fund", "payment", "top up", "top-up", "overdraft")
WRONG = ("invalid", "validation", "must be", "required", "unknown field", "unrecognized", "malformed")


def created(answer: Answered, tag: str) -> dict[str, Any]:
    """The rental's row of a create that worked. Raises NotCreated, Unclear.

    A 5xx was seen for an option listed seconds before, and a machine behind it has to be assumed (3.4).
    """
    if not answer.sent:
        raise NotCreated(Because.BUSY, f"{PROVIDER}: {answer.words}", "it is asked again", after=NOBODY)
    if 200 <= answer.status < 300:
        row = rental(answer.value)
        if row is None:
            raise Unclear(f"{PROVIDER}: an answer without the rental's id", f"looking for {tag} in its list")
        return row
    if 400 <= answer.status < 500 and answer.status != 408:
        raise refused(answer)
    told = f"{answer.status} {answer.words}".strip() if answer.status else answer.words
    raise Unclear(f"{PROVIDER}: {told}: it may have been created", f"looking for {tag} in its list")


def rental(value: Any) -> dict[str, Any] | None:
    """The row in an answer: the answer itself, as other clients read it, or one level below."""
    inner = fields.inner(value, "rental") or fields.inner(value, "data") if isinstance(value, dict) else {}
    for row in (value, inner):
        if isinstance(row, dict):
            id = fields.whole(row, "id") or fields.whole(row, "rentalId")
            if id:
                return {**row, "id": id}
    return None


def refused(answer: Answered) -> NotCreated:
    """A 4xx: nothing was created. Unless the words speak of the request or of money, the option is taken for gone: the
    next offer is tried, which is bounded, where a wrong stop would be final."""
    told = f"{PROVIDER}: {answer.status} {answer.words}".strip()
    low = f"{answer.code} {answer.words}".lower()
    if answer.status in (401, 403):
        return NotCreated(Because.KEY, told, key_step(PROVIDER))
    if answer.status == 429:
        return NotCreated(Because.BUSY, told, "asked too often", after=answer.after or BUSY)
    if answer.status == 402 or any(word in low for word in CREDIT):
        return NotCreated(Because.CREDIT, told, "put money on the account (its web app, Billing), or take another one")
    if answer.status in (405, 415) or any(word in low for word in WRONG):
        return NotCreated(Because.INVALID, told, "its API may have changed; look for a newer Stoker")
    return NotCreated(Because.CAPACITY, told, "the next offer is tried")
