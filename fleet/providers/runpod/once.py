"""Things that pile up unless somebody looks first: one of each name, made once, also by two who make it together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from fleet.providers.runpod.created import failed, only_id
from fleet.wire.failed import ProviderFailed
from fleet.wire.line import Answered, Line

# Seconds between looks after a create that nobody knows the end of: reads may lag behind creates (providers.md 0.1).
LOOKS = (1.0, 3.0, 8.0)
MADE_ALREADY = frozenset({400, 409})  # maybe: the name is taken (1.6), by one that was made since we looked


def one(
    line: Line,
    path: str,
    body: dict[str, Any],
    look: Callable[[], list[dict[str, Any]]],
    sleep: Callable[[float], None],
    hidden: str = "",
    deletes: bool = True,
) -> dict[str, Any]:
    """The row of what `look` finds; else of what one create makes. hidden: a secret in the body;
    deletes: whether the second of two can be deleted.

    Raises ProviderFailed (KeyRefused, Throttled).

    A lost answer is followed by looking, never by another create. When two made it at the same time, both keep the one
    with the smallest id, and the other is deleted by who made it.
    """
    found = look()
    if found:
        return smallest(found)
    answered = line.create("POST", path, body)
    mine = only_id(answered.value) if 200 <= answered.status < 300 else ""
    if mine:
        kept = smallest([*look(), {**body, **answered.value, "id": mine}])
        if deletes and str(kept["id"]) != mine:
            removed(line, path, mine)
        return kept
    if answered.status in MADE_ALREADY or not_known(answered):
        for pause in LOOKS if not_known(answered) else (0.0,):
            sleep(pause)
            found = look()
            if found:
                return smallest(found)
    raise failed(answered, f"POST {path}", (hidden,))


def not_known(answered: Answered) -> bool:
    """Whether it may have been made: a lost answer, a 5xx, a 2xx without an id."""
    status = answered.status
    return answered.sent and (status in (0, 408) or status >= 500 or 200 <= status < 300)


def smallest(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The one that everybody agrees on."""
    return min(rows, key=lambda row: str(row.get("id", "")))


def removed(line: Line, path: str, id: str) -> None:
    """Deletes the needless second one; one that is in use by now stays, and does no harm."""
    try:
        line.change("DELETE", f"{path}/{quote(id, safe='')}")
    except ProviderFailed as failure:
        if failure.status not in (400, 404, 409):
            raise
