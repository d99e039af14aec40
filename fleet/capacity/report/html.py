"""One self-contained HTML page of a plan: nothing is fetched, it can be mailed, printed and read on a phone."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from fleet.capacity.report import amounts, headline, memory_bars, scatter
from fleet.capacity.report.colours import colours, place
from fleet.capacity.report.heat import heat_of
from fleet.capacity.report.page import Choice, Page, Part
from fleet.capacity.report.reading import page_of
from fleet.capacity.report.svg import Markup, element, percent

HERE = Path(__file__).parent
SHOWN = 8  # bars; those of the other choices can be opened


def html(document: Mapping[str, Any]) -> str:
    """The page of `Plan.to_json()`: every text of it is escaped, no address in it is ever asked.

    The page's own policy forbids its browser to load anything and to run any script but the page's.
    """
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE, encoding="utf-8"),
        undefined=jinja2.StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = page_of(document)
    script = (HERE / "page.js").read_text("utf-8")
    notes = Notes()
    return environment.get_template("page.html.j2").render(
        page=page,
        style=Markup((HERE / "page.css").read_text("utf-8")),
        script=Markup(script),
        script_hash=b64encode(sha256(script.encode()).digest()).decode(),
        headline=headline.headline(page),
        sentence=headline.sentence(page),
        verdict=headline.verdict,
        note=notes.mark,
        notes=notes,
        amounts=amounts,
        memory=memory_figure(page),
        plots=plots(page),
        told=told(page.points) if page.points else "",
        part_bar=part_bar,
        heat=heat_of(page.cells),
    )


@dataclass(slots=True)
class Notes:
    """The sources met so far, numbered: a mark leads to its line in the list at the end."""

    sources: list[str] = field(default_factory=list)

    def number(self, source: str) -> int:
        """From 1 on; the same source has the same number."""
        if source not in self.sources:
            self.sources.append(source)
        return self.sources.index(source) + 1

    def also(self, line: str) -> None:
        """A line 'what: source' of the document, unless its source is there already."""
        if not any(line == source or line.endswith(f": {source}") for source in self.sources):
            self.sources.append(line)

    def mark(self, source: str) -> Markup:
        """A small linked number whose title is the source."""
        if not source:
            return Markup("")
        number = self.number(source)
        link = element("a", str(number), href=f"#source-{number}", title=source, aria_label=f"source {number}")
        return element("sup", link, class_="note")


@dataclass(frozen=True, slots=True)
class MemoryFigure:
    """The memory chart: a legend of (number, colour, name), and pairs of a choice and its bar."""

    legend: tuple[tuple[int, int, str], ...]
    first: tuple[tuple[Choice, Markup], ...]
    others: tuple[tuple[Choice, Markup], ...]
    scale: Markup
    names: tuple[str, ...]


def memory_figure(page: Page) -> MemoryFigure | None:
    """All bars over one scale, the chosen one first; None without any."""
    choices = sorted(page.bars, key=lambda choice: not choice.chosen)
    bars = [choice.memory for choice in choices if choice.memory]
    if not bars:
        return None
    names = tuple(sorted(dict.fromkeys(term.name for bar in bars for term in bar.terms), key=place))
    slots, numbers = colours(names), {name: index for index, name in enumerate(names, 1)}
    scale = memory_bars.scale_of(choices)
    drawn = tuple(
        (choice, memory_bars.drawn(choice, bar, scale, slots, numbers))
        for choice, bar in zip(choices, bars, strict=True)
    )
    legend = tuple((numbers[name], slots[name], name) for name in names)
    return MemoryFigure(legend, drawn[:SHOWN], drawn[SHOWN:], memory_bars.scale_drawn(scale), names)


def plots(page: Page) -> tuple[Markup, Markup] | None:
    """Cost against time for a wide and for a narrow window; None without a point."""
    points = page.points
    if not points:
        return None
    words = told(points)
    return (
        scatter.scatter(points, page.limits, scatter.WIDE, words),
        scatter.scatter(points, page.limits, scatter.NARROW, words),
    )


def told(points: Sequence[Choice]) -> str:
    """The plot in words."""
    best = scatter.front(points)
    if not best:
        return f"Cost against time of {len(points)} choices, all above the price allowed."
    fastest, cheapest = best[0], best[-1]
    dear = sum(choice.verdict == "dear" for choice in points)
    within = f", {dear} of them above the price allowed and left out here" if dear else ""

    def numbers(choice: Choice) -> str:
        hours, dollars = scatter.time_and_cost(choice)
        return f"{choice.label}, {amounts.said(hours)} and {amounts.said(dollars)}"

    return (
        f"{len(points)} GPU choices{within}. Fastest: {numbers(fastest)}. Cheapest: {numbers(cheapest)}. "
        f"{len(best)} {'is' if len(best) == 1 else 'are'} beaten by no other in both."
    )


def part_bar(part: Part, parts: Sequence[Part]) -> Markup:
    """A part of a whole as a bar, over the largest part's."""
    share = part.value / max(other.value for other in parts)
    rect = element("rect", class_="part", x=0.0, y=0.0, width=percent(share), height=16.0)
    return element("svg", rect, width="100%", height=16.0, aria_hidden="true")
