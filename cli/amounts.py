"""Numbers as people write them on a command line (51.6B, 2.5k, 1_000, $300), read exactly and refused by their flag."""

from __future__ import annotations

import re
from fractions import Fraction

from profiles.errors import WrongInput

MULTIPLES = {"": 1, "k": 10**3, "m": 10**6, "b": 10**9, "g": 10**9, "t": 10**12, "ki": 2**10, "mi": 2**20, "gi": 2**30}
FORM = re.compile(
    r"([+-]?)(\d[\d_]*(?:,\d{3})*(?:\.\d*)?|\.\d+)(?:e([+-]?\d{1,2}))?\s*([a-z]{0,2})", re.IGNORECASE | re.ASCII
)


def number(text: str, flag: str, least: float = 0, most: float = 1e18, *, zero: bool = False) -> float:
    """A number above `least` (from it on with zero=True) and at most `most`.

    k, M, B (or G), T are powers of 1000, Ki, Mi, Gi of 1024. Raises WrongInput naming the flag.
    """
    return float(_checked(_read(text, flag), text, flag, least, most, zero))


def whole(text: str, flag: str, least: int = 1, most: int = 10**15) -> int:
    """A whole number from `least` to `most`. Raises WrongInput naming the flag."""
    value = _checked(_read(text, flag), text, flag, least, most, True)
    if value.denominator != 1:
        raise WrongInput(f"{flag} {text} is no whole number", f"{flag} {round(value):,}".replace(",", ""))
    return int(value)


def wholes(texts: list[str], flag: str, least: int = 1, most: int = 10**15) -> list[int]:
    """Whole numbers given one by one or as 1,2,4. Raises WrongInput naming the flag."""
    return [whole(part, flag, least, most) for text in texts for part in text.split(",")]


def _read(text: str, flag: str) -> Fraction:
    found = FORM.fullmatch(text.strip().removeprefix("$").strip())
    suffix = found[4].lower() if found else ""
    if found is None or suffix not in MULTIPLES:
        raise WrongInput(f"{flag} {text!r} is no number", f"for example {flag} 8, 2.5k, 300M, 51.6B or 1.2T")
    digits = Fraction(found[1] + found[2].replace(",", "").replace("_", ""))  # exact: 51.6B is 51600000000
    return digits * Fraction(10) ** int(found[3] or 0) * MULTIPLES[suffix]


def _checked(value: Fraction, text: str, flag: str, least: float, most: float, included: bool) -> Fraction:
    if value < least or (value == least and not included):
        bound = f"of at least {least:,g}" if included else f"above {least:,g}"
        raise WrongInput(f"{flag} {text} is too small", f"give {flag} a number {bound}")
    if value > most:
        raise WrongInput(f"{flag} {text} is more than anybody could mean", f"give {flag} at most {most:,.15g}")
    return value
