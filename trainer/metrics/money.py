"""What time costs, and how much of both is left."""

from __future__ import annotations


def dollars(seconds: float, price: float, gpus: int) -> float:
    """price: dollars per GPU-hour."""
    return seconds / 3600.0 * price * gpus


def spell(seconds: float) -> str:
    """'45s', '12m05s', '14h03m', '3d04h'."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    if whole < 86400:
        return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
    return f"{whole // 86400}d{whole % 86400 // 3600:02d}h"


def short(number: float) -> str:
    """'950', '91.2k', '1.05M', '3.2G'."""
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(number) >= limit:
            return f"{number / limit:.3g}{unit}" if abs(number) < 100 * limit else f"{number / limit:.0f}{unit}"
    return f"{number:.3g}"
