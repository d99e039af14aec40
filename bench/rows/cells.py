"""Cells of a table as people write them: '130,000', '48%', '~22', '1.3B'; what is no one number is refused."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping

from profiles.errors import WrongInput

NOTHING = ("", "-", "--", "–", "—", "?", "n/a", "na", "none", "null", "nan", "unknown", "not published")
ABOUT = re.compile(r"^(~|≈|about |approx\.? |circa |ca\.? )\s*")
NUMBER = re.compile(r"(\d{1,3}(,\d{3})+|\d+)?(\.\d+)?(e[+-]?\d+)?")
THOUSANDS = {"k": 10**3, "m": 10**6, "b": 10**9}


def number(text: str) -> float | None:
    """The value of '130,000', '48%', '~22', '9.6k', '8B'; None for an empty cell and for words that say so.

    Raises WrongInput for anything else: ranges, units, several numbers, zero and less.
    """
    said = text.strip().lower()
    if said in NOTHING:
        return None
    said = ABOUT.sub("", said).removesuffix("%").strip()
    factor = THOUSANDS.get(said[-1:], 1)
    digits = said if factor == 1 else said[:-1].strip()
    value = float(digits.replace(",", "")) * factor if re.search(r"\d", digits) and NUMBER.fullmatch(digits) else 0.0
    if not 0 < value < math.inf:
        raise WrongInput(f"`{text}` is not one number above zero", "write for example 130,000, 48%, ~22 or 1.3B")
    return value


def whole(text: str) -> int | None:
    """The same for what is counted. Raises WrongInput for parts of one."""
    value = number(text)
    if value is None:
        return None
    if abs(value - round(value)) > 1e-6:
        raise WrongInput(f"`{text}` is not a whole number", "it is counted in ones")
    return round(value)


def columns(name: str, found: Collection[str] | None, wanted: Collection[str]) -> None:
    """Raises WrongInput for a file that lacks some of the `wanted` columns."""
    lacking = [column for column in wanted if column not in (found or ())]
    if lacking:
        raise WrongInput(f"{name} has no column {', '.join(lacking)}", f"its first line must name {', '.join(wanted)}")


def given(fields: Mapping[str, str | None], column: str) -> str:
    """A cell's text. Raises WrongInput if it is empty."""
    text = (fields.get(column) or "").strip()
    if not text:
        raise WrongInput(f"`{column}` is empty", "every column but the source is needed")
    return text
