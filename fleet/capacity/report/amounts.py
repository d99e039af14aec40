"""Numbers as a reader wants them: three figures at most, the unit beside, ranges as 'low–high'."""

from __future__ import annotations

from math import floor, log10

from fleet.capacity.figure import Figure

GB = 10**9  # as everywhere in a plan
LARGE = ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k"))


def digits(value: float, figures: int = 3) -> str:
    """Rounded to `figures` significant digits, thousands with commas, never an exponent."""
    if value == 0:
        return "0"
    places = figures - 1 - floor(log10(abs(value)))
    text = f"{round(value, places):,.{max(0, places)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def large(value: float) -> str:
    """1.38B, 512M, 97.4k."""
    for size, letter in LARGE:
        if abs(value) >= size * 0.9995:
            return digits(value / size) + letter
    return digits(value)


def size(value: float) -> str:
    """Bytes as '61.2 GB' (10^9)."""
    return f"{gigabytes(value)} GB"


def gigabytes(value: float) -> str:
    """Bytes as a number of GB, one decimal below 100."""
    number = value / GB
    if 0 < number < 0.1:
        return f"{number:.2f}"
    return f"{number:.1f}" if number < 100 else f"{number:,.0f}"


def hours(value: float) -> str:
    """'40 s', '35 min', '3.1 h', '125 h'."""
    if value * 3600 < 90:
        return f"{digits(value * 3600, 2)} s"
    if value < 0.995:
        return f"{value * 60:.0f} min"
    return f"{value:.1f} h" if value < 9.95 else f"{digits(value)} h"


def seconds(value: float) -> str:
    """'0.8 ms', '120 ms', '1.24 s', '35 min'."""
    if value == 0:
        return "0 s"
    if value < 0.9995:
        return f"{digits(value * 1000, 2)} ms" if value < 0.1 else f"{value * 1000:.0f} ms"
    return f"{digits(value)} s" if value < 90 else hours(value / 3600)


def dollars(value: float) -> str:
    """'$0.45', '$7.30', '$73', '$1,234'."""
    return f"${value:,.2f}" if value < 9.995 else f"${value:,.0f}"


def percent(value: float) -> str:
    """'46.4%'."""
    return f"{digits(value)}%"


def share(value: float) -> str:
    """A part of 1 as '63%', '<1%'."""
    return f"{100 * value:.0f}%" if value >= 0.0095 else "<1%"


def per_hour(value: float) -> str:
    """'$2.40/h'."""
    return f"${value:,.2f}/h"


def price(value: float) -> str:
    """'$2.39'."""
    return f"${value:,.2f}"


WORDS = {
    "bytes": size,
    "b": size,
    "h": hours,
    "hours": hours,
    "s": seconds,
    "seconds": seconds,
    "usd": dollars,
    "dollars": dollars,
    "$": dollars,
    "%": percent,
    "percent": percent,
    "usd/h": per_hour,
    "usd/gpu-hour": per_hour,
    "usd per gpu-hour": per_hour,
}


def flops(value: float) -> str:
    """'4.94 GFLOP'."""
    for scale, letter in ((1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M")):
        if value >= scale * 0.9995:
            return f"{digits(value / scale)} {letter}FLOP"
    return f"{digits(value)} FLOP"


def one(value: float, unit: str) -> str:
    """A value with its unit."""
    if unit.upper().startswith("FLOP"):
        return flops(value) + unit[4:].removeprefix("s").removeprefix("S")
    known = WORDS.get(unit.lower())
    return known(value) if known else f"{large(value)} {unit}".strip()


def said(figure: Figure) -> str:
    """The figure's value with its unit."""
    return one(figure.value, figure.unit)


def span(figure: Figure) -> str:
    """Its range, '2.7 h–3.5 h' said as '2.7–3.5 h'; nothing without one."""
    if figure.low is None or figure.high is None or figure.low == figure.high:
        return ""
    low, high = one(figure.low, figure.unit), one(figure.high, figure.unit)
    if low == high:
        return ""
    number, blank, unit = low.partition(" ")
    if blank and high.endswith(f" {unit}"):
        low = number
    elif low.endswith("%"):
        low = low[:-1]
    return f"{low}–{high}"
