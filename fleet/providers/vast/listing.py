"""The list of instances: keyset pages of 25 (providers.md 2.6), whole or not at all.

A launch is judged by this list, so a page that is missing, a row without an id or a count that contradicts the rows
raises ProviderFailed: none of them may look like "there is no such machine".
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

from fleet.providers.vast.answers import PROVIDER, agreed
from fleet.wire import fields
from fleet.wire.failed import ProviderFailed
from fleet.wire.line import Line

PATH = "/api/v1/instances/"
PAGE = 25  # the most that is taken
PAGES = 200
AGAIN = "ask again in a moment; nothing is concluded from this"


def listed(line: Line, label: str = "") -> list[dict[str, Any]]:
    """All rows, of one label when it is given, each once. Raises ProviderFailed.

    A contradiction is asked about once more: instances come and go between two pages.
    """
    try:
        return one_pass(line, label)
    except Contradiction:
        return one_pass(line, label)


class Contradiction(ProviderFailed):
    """The list's own counts say that rows are missing."""


def one_pass(line: Line, label: str) -> list[dict[str, Any]]:
    """Every page once."""
    filters = {"label": {"eq": label}} if label else {}
    query = {
        "limit": str(PAGE),
        "order_by": json.dumps([{"col": "id", "dir": "asc"}]),
        "select_filters": json.dumps(filters),
    }
    rows: dict[str, dict[str, Any]] = {}
    tokens: set[str] = set()
    for _ in range(PAGES):
        answer = agreed(line.get(PATH, query), "the list of instances")
        rows |= page(answer)
        token = answer.get("next_token")
        if token is None or token == "":
            contradicted(answer, rows, label)
            return [row for row in rows.values() if not label or row.get("label") == label]
        if not isinstance(token, str) or token in tokens:
            raise ProviderFailed(PROVIDER, "the list of instances does not end", AGAIN)
        tokens.add(token)
        query["after_token"] = token
    raise ProviderFailed(PROVIDER, f"more than {PAGES * PAGE} instances", "this account is too large for Stoker")


def page(answer: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The rows of one page by id."""
    found = answer.get("instances")
    if not isinstance(found, list):
        raise ProviderFailed(PROVIDER, "an answer without the list of instances", AGAIN)
    rows = {fields.text(row, "id"): row for row in found if isinstance(row, dict)}
    if not all(id.isdigit() for id in rows) or not all(isinstance(row, dict) for row in found):
        raise ProviderFailed(PROVIDER, "an instance without an id in the list", AGAIN)
    return rows


def contradicted(answer: Mapping[str, Any], rows: Mapping[str, dict[str, Any]], label: str) -> None:
    """Raises Contradiction when the last page's counts name more than was listed (2.6's cross-check).

    `label_counts` counts by label, without one as ""; whether it keeps to the filter is not told, so with a filter only
    that label's count is read. `total_instances` counts what matches the filter.
    """
    labels = Counter(row.get("label") or "" for row in rows.values())
    counts = fields.inner(dict(answer), "label_counts")
    for name in [label] if label else counts:
        told = fields.whole(counts, name)
        if told is not None and told > labels[name]:
            raise Contradiction(PROVIDER, f"{told} instances are counted and {labels[name]} listed", AGAIN)
    total = fields.whole(answer, "total_instances")
    if not label and total is not None and total > len(rows):
        raise Contradiction(PROVIDER, f"{total} instances are counted and {len(rows)} listed", AGAIN)
