"""Lists of RunPod's, every page of them: a part is never shown as the whole."""

from __future__ import annotations

from typing import Any

from fleet.offers.runpod import PROVIDER
from fleet.wire.failed import ProviderFailed
from fleet.wire.line import Line

MOST = 1000  # pages of up to 1000 rows


def listed(line: Line, path: str, name: str) -> list[dict[str, Any]]:
    """All rows of a list, wrapped in `name` (providers.md 1.4); the newer form has pages by cursor, the older none
    (1.2), and the first request asks for none, because the older form knows no such parameter.

    Raises ProviderFailed when any part of it is missing or cannot be read: what a caller concludes from a row that is
    not there, must be true.
    """
    found: dict[str, dict[str, Any]] = {}
    cursors: set[str] = set()
    query: dict[str, str] = {}
    for _ in range(MOST):
        answer = line.get(path, query)
        for row in rows(answer, name):
            found[row_id(row, name)] = row  # a row that moved to the next page meanwhile counts once
        cursor = following(answer, name)
        if not cursor:
            return list(found.values())
        if cursor in cursors:
            raise unreadable(name, "the same page again and again")
        cursors.add(cursor)
        query = {"cursor": cursor}
    raise unreadable(name, f"more than {MOST} pages")


def rows(answer: Any, name: str) -> list[dict[str, Any]]:
    """The objects under `name`. Raises ProviderFailed for anything else."""
    found = answer.get(name) if isinstance(answer, dict) else None
    if not isinstance(found, list):
        raise unreadable(name, f"an answer without `{name}`")
    if not all(isinstance(row, dict) for row in found):
        raise unreadable(name, "a row that is no object")
    return found


def row_id(row: dict[str, Any], name: str) -> str:
    """A row's id. Raises ProviderFailed without one: it could be neither matched nor ended."""
    found = row.get("id")
    if isinstance(found, int) and not isinstance(found, bool):
        return str(found)
    if not isinstance(found, str) or not found:
        raise unreadable(name, "a row without an id")
    return found


def following(answer: dict[str, Any], name: str) -> str:
    """The cursor of the next page, "" after the last. Raises ProviderFailed when there is more and no way to it."""
    pagination = answer.get("pagination")
    if not isinstance(pagination, dict):
        if pagination is not None:
            raise unreadable(name, "a pagination that cannot be read")
        return ""
    more, cursor = pagination.get("hasNextPage"), pagination.get("nextCursor")
    if more is False or (more is None and not cursor):
        return ""
    if isinstance(cursor, str) and cursor:
        return cursor
    raise unreadable(name, "more pages than it tells the way to")


def unreadable(name: str, why: str) -> ProviderFailed:
    return ProviderFailed(
        PROVIDER, f"{why}: its list of {name} is not whole", "ask again; nothing is concluded from it"
    )
