"""Values out of a provider's JSON, whatever it holds: a number sent as a string is read (providers.md 0.4), text that
would steer a terminal is not passed on, and what cannot be read is None or "", never a default that looks like data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

LONGEST = 200  # characters of a provider's text that are kept


def rows(value: object) -> list[dict[str, Any]]:
    """The objects of a list; one object alone counts as a list of one (Vast's `offers`, providers.md 2.1)."""
    if isinstance(value, dict):
        return [value] if value else []
    return [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []


def inner(row: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The object under `name`, an empty one when there is none."""
    value = row.get(name)
    return value if isinstance(value, dict) else {}


def signed(row: Mapping[str, Any], name: str) -> float | None:
    """A finite number, also below 0 (credit) and from a string; None for anything else, booleans included."""
    value = row.get(name)
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None


def number(row: Mapping[str, Any], name: str) -> float | None:
    """A finite number >= 0, also from a string; None for anything else, booleans included."""
    found = signed(row, name)
    return found if found is not None and found >= 0 else None


def whole(row: Mapping[str, Any], name: str) -> int | None:
    """A whole number >= 0."""
    found = number(row, name)
    return int(found) if found is not None and found == int(found) else None


def text(row: Mapping[str, Any], name: str) -> str:
    """Text, printable characters only and bounded; a whole number as its digits (ids), else ""."""
    value = row.get(name)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value) if abs(value) < 1 << 64 else ""
    return printable(value) if isinstance(value, str) else ""


def printable(value: str) -> str:
    """`value` on one line, without control characters, bounded."""
    line = " ".join(value[: 4 * LONGEST].split())
    return "".join(letter for letter in line if letter.isprintable())[:LONGEST]


def flag(row: Mapping[str, Any], name: str) -> bool | None:
    """True or False, also as 0, 1 or their words; None: not told."""
    value = row.get(name)
    if isinstance(value, bool):
        return value
    word = str(value).lower() if isinstance(value, (int, str)) and not (isinstance(value, int) and value > 1) else ""
    return {"true": True, "1": True, "false": False, "0": False}.get(word)
