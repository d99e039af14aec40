"""Filters, order and coercion of Vast's searches (providers.md 2.3, 2.4; the OpenAPI file's operators)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

OPERATORS = ("eq", "neq", "gt", "gte", "lt", "lte", "in", "notin")
TRUE, FALSE = ("true", "1", "yes"), ("false", "0", "no")

Row = Mapping[str, Any]
R = TypeVar("R", bound=Row)


class BadQuery(Exception):
    """A search that Vast refuses with 400; its words are the `msg`."""


def number(value: Any) -> float | None:
    """A number, also one that travels as text ("num_gpus": {"gte": "1"}); None for anything else."""
    if isinstance(value, bool):
        return None
    if isinstance(value, (int, float)):
        return float(value)
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def truth(value: Any) -> bool | None:
    """A yes or no, also one that travels as text or as 0 and 1; None, which the rows use for false, is false."""
    if value is None:
        return False
    text = str(value).strip().lower()
    return True if text in TRUE else False if text in FALSE else None


def plain(value: Any) -> str:
    """Text as it is compared: both spellings of the docs, RTX_4090 and RTX 4090, are one."""
    return str(value).replace("_", " ").strip().lower()


def driver(value: Any) -> int | None:
    """A driver version as one number: 535.86.05 and the client's 535086005 are the same."""
    parts = str(value).split(".")
    if len(parts) == 1:
        found = number(value)
        return None if found is None else int(found)
    if not all(part.isdigit() for part in parts):
        return None
    major, minor, patch = (int(part) for part in [*parts, "0", "0"][:3])
    return major * 1_000_000 + minor * 1_000 + patch


def country(text: Any) -> str:
    """The two-letter code at the end of "Sweden, SE"; also of ", US", which happens."""
    return str(text).rpartition(",")[2].strip().upper()


def same(mine: Any, asked: Any) -> bool:
    """Equal after coercion, by the type of the row's own value."""
    if isinstance(mine, bool) or (mine is None and isinstance(asked, bool)):
        return truth(mine) == truth(asked)
    if mine is None or asked is None:
        return mine is None and asked is None
    if isinstance(mine, (int, float)):
        return number(asked) == float(mine)
    return plain(mine) == plain(asked)


def ordered(mine: Any, asked: Any, compare: Callable[[Any, Any], bool]) -> bool:
    """A comparison; a row that does not tell never passes one."""
    left, right = number(mine), number(asked)
    if left is not None and right is not None:
        return compare(left, right)
    return isinstance(mine, str) and asked is not None and compare(plain(mine), plain(asked))


def passes(mine: Any, operator: str, asked: Any) -> bool:
    """One test of one field. Raises BadQuery for an operator that there is not, or a list that is none."""
    if operator in ("in", "notin"):
        if not isinstance(asked, (list, tuple)):
            raise BadQuery(f"Error in query parameters: {operator} takes a list")
        return any(same(mine, each) for each in asked) == (operator == "in")
    match operator:
        case "eq":
            return same(mine, asked)
        case "neq":
            return not same(mine, asked)
        case "gt":
            return ordered(mine, asked, lambda a, b: a > b)
        case "gte":
            return ordered(mine, asked, lambda a, b: a >= b)
        case "lt":
            return ordered(mine, asked, lambda a, b: a < b)
        case "lte":
            return ordered(mine, asked, lambda a, b: a <= b)
    raise BadQuery(f"Error in query parameters: {operator} is not a valid operator")


def checked(filters: Any, fields: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Filters {"field": {"op": value}} over known fields. Raises BadQuery."""
    if not isinstance(filters, dict):
        raise BadQuery("Invalid json body")
    for name, tests in filters.items():
        if name not in fields:
            raise BadQuery(f"Error in query parameters: {name} is not a valid search key")
        if not isinstance(tests, dict) or not tests:
            raise BadQuery(f"Error in query parameters: {name} takes operators and values")
        for operator in tests:
            if operator not in OPERATORS:
                raise BadQuery(f"Error in query parameters: {operator} is not a valid operator")
    return filters


def accepts(row: Row, filters: Mapping[str, Mapping[str, Any]], read: Callable[[Row, str], Any] | None = None) -> bool:
    """Whether the row passes every test of every field; `read` gives a field that is not stored as such."""
    look = read or (lambda one, name: one.get(name))
    return all(
        passes(look(row, name), operator, value) for name, tests in filters.items() for operator, value in tests.items()
    )


def in_order(rows: Sequence[R], order: Sequence[tuple[str, str]]) -> list[R]:
    """Rows by several fields, the first one the most important; those that do not tell come last."""
    found = list(rows)
    for name, way in reversed(order):
        down = way == "desc"
        known = [row for row in found if row.get(name) is not None]
        known.sort(
            key=lambda row: (number(row[name]) is None, number(row[name]) or 0.0, plain(row[name])), reverse=down
        )
        found = known + [row for row in found if row.get(name) is None]
    return found
