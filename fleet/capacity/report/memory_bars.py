"""Memory of one GPU as stacked bars over a common scale, drawn in percent so that they fit a phone and a page alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fleet.capacity.report.amounts import GB, gigabytes, size
from fleet.capacity.report.colours import place
from fleet.capacity.report.page import Bar, Choice, Term
from fleet.capacity.report.svg import Markup, element, join, percent
from fleet.capacity.report.ticks import linear_ticks

TOP, HEIGHT = 2.0, 28.0  # pixels of a bar; the whisker has a lane of its own under it
LANE, WHOLE = 38.0, 46.0
NUMBERED, ROOMY = 0.02, 0.05  # of the scale: narrower has no room for its number; roomy: also on a phone
BEYOND = 1.02  # of the largest card: what does not run and needs more is cut off, with a torn end


@dataclass(frozen=True, slots=True)
class Scale:
    """Bytes to a share of the width."""

    ticks: tuple[float, ...]

    @property
    def top(self) -> float:
        """Bytes at the right end."""
        return self.ticks[-1]

    def share(self, amount: float) -> float:
        """0 to 1, in proportion, held at the end."""
        return min(amount / self.top, 1.0)


def scale_of(choices: Sequence[Choice]) -> Scale:
    """A scale for all choices' bars (at least one): every card whole, and all needs of those that run."""
    bars = [(choice.runs, choice.memory) for choice in choices if choice.memory]
    card = max(bar.capacity for _, bar in bars)
    needs = [(runs, max(bar.total, bar.high or 0.0)) for runs, bar in bars]
    top = max(card, 1.0, *(need if runs else min(need, BEYOND * card) for runs, need in needs))
    return Scale(tuple(tick * GB for tick in linear_ticks(0.0, top / GB, 8)))


def segments(bar: Bar) -> tuple[Term, ...]:
    """The bar's terms, states first; one nameless term where only the total is known."""
    terms = sorted((term for term in bar.terms if term.bytes > 0), key=lambda term: place(term.name))
    return tuple(terms) or (Term("in all", bar.total),)


def drawn(choice: Choice, bar: Bar, scale: Scale, slots: Mapping[str, int], numbers: Mapping[str, int]) -> Markup:
    """One bar with the card's capacity as a line and the range as a whisker."""
    marks: list[str] = [grid_line(scale.share(tick)) for tick in scale.ticks]
    start = 0.0
    for term in segments(bar):
        marks.append(segment(term, start, scale, slots.get(term.name, 0), numbers.get(term.name)))
        start += term.bytes
    marks.append(capacity_line(bar, scale))
    if bar.low is not None and bar.high is not None and bar.high > bar.low:
        marks.append(whisker(bar.low, bar.high, scale))
    if max(bar.total, bar.high or 0.0) > scale.top:
        marks.append(torn_end())
    return element(
        "svg", *marks, class_="bar-plot", width="100%", height=WHOLE, role="img", aria_label=words(choice, bar)
    )


def segment(term: Term, start: float, scale: Scale, slot: int, number: int | None) -> Markup:
    """A term from `start` bytes on; its number inside if there is room. Cut off at the end of the scale."""
    left, right = scale.share(start), scale.share(start + term.bytes)
    knob = f" Changed by {term.knob}." if term.knob else ""
    told = f"{term.name}: {size(term.bytes)}.{knob} {term.source}".strip()
    rect = element(
        "rect",
        element("title", told),
        class_=f"mark segment c{slot}",
        x=percent(left),
        y=TOP,
        width=percent(right - left),
        height=HEIGHT,
        data_bytes=f"{term.bytes:.0f}",
    )
    if number is None or right - left < NUMBERED:
        return rect
    middle = percent((left + right) / 2)
    style = f"in-segment i{slot}" + ("" if right - left >= ROOMY else " tight-fit")
    label = element("text", str(number), class_=style, x=middle, y=TOP + 18.5, text_anchor="middle")
    return join(rect, label)


def grid_line(share: float) -> Markup:
    """A faint line at a tick."""
    return element("line", class_="grid", x1=percent(share), x2=percent(share), y1=0.0, y2=WHOLE)


def capacity_line(bar: Bar, scale: Scale) -> Markup:
    """Where the card ends."""
    at = percent(scale.share(bar.capacity))
    told = element("title", f"capacity: {size(bar.capacity)} that a process can have on this GPU")
    halo = element("line", class_="halo", x1=at, x2=at, y1=0.0, y2=WHOLE)
    line = element("line", told, class_="mark capacity", x1=at, x2=at, y1=0.0, y2=WHOLE)
    return join(halo, line)


def whisker(low: float, high: float, scale: Scale) -> Markup:
    """The range of the total; no cap at an end that is beyond the scale."""
    left, right = percent(scale.share(low)), percent(scale.share(high))
    lines = [(left, right, LANE, LANE)]
    lines += [(percent(scale.share(x)),) * 2 + (LANE - 5, LANE + 5) for x in (low, high) if x <= scale.top]
    strokes = [element("line", class_="whisker", x1=x1, x2=x2, y1=y1, y2=y2) for x1, x2, y1, y2 in lines]
    told = element("title", f"expected between {size(low)} and {size(high)}")
    return element("g", told, *strokes, class_="mark")


def torn_end() -> Markup:
    """A zigzag at the right end: the bar goes on."""
    path = element("path", class_="torn", d="M-7,-2 l4,8 l-6,8 l6,8 l-6,8 l6,8 l-4,10 L14,48 L14,-2 Z")
    return element("svg", path, x="100%", y=0.0, overflow="visible")


def words(choice: Choice, bar: Bar) -> str:
    """The bar said in a sentence."""
    terms = ", ".join(f"{term.name} {size(term.bytes)}" for term in segments(bar))
    spread = f" (between {size(bar.low)} and {size(bar.high)})" if bar.low is not None and bar.high is not None else ""
    return f"{choice.label}: {size(bar.total)}{spread} of {size(bar.capacity)}, {choice.verdict}. {terms}."


def scale_drawn(scale: Scale) -> Markup:
    """The ticks under the bars, in GB."""
    labels = []
    last = len(scale.ticks) - 1
    for index, tick in enumerate(scale.ticks):
        anchor = "start" if index == 0 else "end" if index == last else "middle"
        text = gigabytes(tick).removesuffix(".0") + (" GB" if index == last else "")
        style = "tick" if (last - index) % 2 == 0 else "tick odd"
        labels.append(element("text", text, class_=style, x=percent(scale.share(tick)), y=14.0, text_anchor=anchor))
    return element("svg", *labels, class_="bar-scale", width="100%", height=20.0, aria_hidden="true")
