"""Values out of a JSON document whose parts may be missing or plain where a figure could be."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Any

from fleet.capacity.figure import Figure
from fleet.capacity.report.page import Part

HOURS = {"s": 1 / 3600, "seconds": 1 / 3600, "min": 1 / 60, "minutes": 1 / 60, "d": 24.0, "days": 24.0}
MARKS = ("NVIDIA ", "GeForce ", " Generation", " Server Edition")  # said by every or by one card's name only


def mapping(value: object) -> Mapping[str, Any]:
    """The value if it is a mapping, an empty one if not."""
    return value if isinstance(value, Mapping) else {}


def items(value: object) -> list[Any]:
    """The value if it is a list, an empty one if not."""
    return list(value) if isinstance(value, (list, tuple)) else []


def number(value: object) -> float | None:
    """A finite number, also one typed as text ('10.5', '$1,000'), or nothing."""
    if isinstance(value, str):
        try:
            value = float(value.strip().removeprefix("$").replace(",", "").replace("_", ""))
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not isfinite(value):
        return None
    return float(value)


def figure(value: object, unit: str = "", source: str = "") -> Figure | None:
    """A figure of the document; a plain number gets the unit and the source given."""
    if isinstance(value, Figure):
        return value
    plain = None if isinstance(value, str) else number(value)
    if plain is not None:
        return Figure(plain, unit, source)
    found = mapping(value)
    at = number(found.get("value"))
    if at is None:
        return None
    said_unit, said_source = str(found.get("unit") or unit), str(found.get("source") or source)
    return Figure(at, said_unit, said_source, number(found.get("low")), number(found.get("high")))


def in_hours(value: object) -> Figure | None:
    """A figure in hours, whatever unit of time it came in."""
    found = figure(value, "h")
    return found and found.times(HOURS.get(found.unit.lower(), 1.0), unit="h")


def in_dollars(value: object) -> Figure | None:
    """A figure in US dollars."""
    found = figure(value, "USD")
    return found and found.times(1.0, unit="USD")


def lines(value: object) -> tuple[str, ...]:
    """Texts; a mapping in the list is said as its values, one after the other."""
    found = []
    for line in items(value):
        text = ", ".join(str(part) for part in line.values() if part) if isinstance(line, Mapping) else str(line)
        if text and text not in found:
            found.append(text)
    return tuple(found)


def said(value: object) -> str:
    """A flag's value in words."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(said, value))
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {said(part)}" for key, part in value.items() if part is not None)
    if isinstance(value, (int, float)):
        return f"{value:,.12g}"
    return str(value)


def parts(value: object, source: str, unit: str = "") -> tuple[Part, ...]:
    """Shares of a whole from {name: number or figure}; those of nothing are left out."""
    found = []
    for name, part in mapping(value).items():
        share = in_hours(part) if unit == "hours" else in_dollars(part) if unit == "dollars" else figure(part, "s")
        if share is not None and share.value > 0:
            found.append(Part(str(name).replace("_", " "), share.value, share.source or source))
    return tuple(found)


def card(key: object) -> str:
    """A GPU's name without what all of them share; an unknown key as it is."""
    from profiles.gpus import table

    names = [known.name for known in table().values()]
    known = table().get(str(key))
    if known is None:
        return str(key)
    bare, _, last = known.name.rpartition(" ")
    name = bare if last.endswith("GB") and sum(other.startswith(f"{bare} ") for other in names) == 1 else known.name
    for mark in MARKS:
        name = name.replace(mark, "")
    return name
