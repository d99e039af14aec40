"""The answer in two sentences."""

from __future__ import annotations

from fleet.capacity.figure import Figure
from fleet.capacity.report.amounts import said, size, span
from fleet.capacity.report.page import Choice, Page

VERDICTS = {
    "fits": "fits",
    "tight": "may not fit",
    "refused": "does not fit",
    "impossible": "cannot run",
    "dear": "too dear",
}


def verdict(choice: Choice) -> str:
    """The verdict in words."""
    return VERDICTS.get(choice.verdict, choice.verdict)


def headline(page: Page) -> str:
    """Model, where, and whether it fits."""
    if page.chosen is None:
        return f"{page.model} fits none of these GPUs"
    joint = " on " if page.chosen.verdict in ("fits", "tight", "refused", "impossible") else " is "
    if page.chosen.verdict == "dear":
        return f"{page.model} on {page.chosen.label} costs more than allowed"
    return f"{page.model} {verdict(page.chosen)}{joint}{page.chosen.label}"


def sentence(page: Page) -> str:
    """Time, cost and room, with their ranges."""
    chosen = page.chosen
    if chosen is None:
        return ""
    found = []
    bought = f", for {whole(chosen.tokens)}" if chosen.tokens and page.goal in ("hours", "dollars") else ""
    if chosen.hours and chosen.dollars:
        found.append(f"About {whole(chosen.hours)}, {whole(chosen.dollars)}{bought}.")
    elif chosen.hours:
        found.append(f"About {whole(chosen.hours)}{bought}; without a price there is no cost.")
    if chosen.memory is not None:
        bar = chosen.memory
        room = bar.capacity - bar.total
        if room >= 0:
            most = f", {size(bar.high)} at the high end" if bar.high else ""
            found.append(f"Each GPU needs {size(bar.total)} of {size(bar.capacity)}{most}.")
        else:
            found.append(f"Each GPU would need {size(bar.total)} and has {size(bar.capacity)}.")
    if not found and chosen.why:
        found.append(f"{chosen.why[:1].upper()}{chosen.why[1:].rstrip('.')}.")
    return " ".join(found)


def whole(figure: Figure) -> str:
    """'3.0 h (2.7–3.5 h)', beyond two days with the days."""
    days = f" = {figure.value / 24:.1f} days" if figure.unit == "h" and figure.value >= 48 else ""
    spread = span(figure)
    return said(figure) + days + (f" ({spread})" if spread else "")
