"""Cost against time over the GPU choices: ranges, the front that nothing beats, and what was asked to stay under."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from fleet.capacity.figure import Figure
from fleet.capacity.report import amounts, limit_lines
from fleet.capacity.report.labels import Box, Placed, Wanted, place
from fleet.capacity.report.page import Choice, Limits
from fleet.capacity.report.svg import Markup, element, join
from fleet.capacity.report.ticks import Axis, axis

RADIUS = 6.0
FEW = 16  # more points have a name only where there is room right beside them
OUTLINES = {"tight": "m0,-8 l8,8 l-8,8 l-8,-8 Z", "dear": "m-5.5,-5.5 h11 v11 h-11 Z"}


@dataclass(frozen=True, slots=True)
class Size:
    """Pixels of the drawing and of what is around the plot."""

    width: float
    height: float
    left: float = 62.0
    right: float = 16.0
    top: float = 14.0
    bottom: float = 46.0

    @property
    def frame(self) -> Box:
        """The plot's rectangle."""
        return Box(self.left, self.top, self.width - self.right, self.height - self.bottom)


WIDE = Size(990, 480)
NARROW = Size(400, 420, left=54.0, right=10.0)


def time_and_cost(choice: Choice) -> tuple[Figure, Figure]:
    """Both figures of a choice that has them."""
    assert choice.hours is not None and choice.dollars is not None
    return choice.hours, choice.dollars


def front(points: Sequence[Choice]) -> list[Choice]:
    """The allowed choices that no other beats in both hours and dollars, fastest first."""
    best: list[Choice] = []
    allowed = [choice for choice in points if choice.verdict != "dear"]
    for choice in sorted(allowed, key=lambda c: tuple(figure.value for figure in time_and_cost(c))):
        if not best or time_and_cost(choice)[1].value < time_and_cost(best[-1])[1].value:
            best.append(choice)
    return best


def ends(figure: Figure) -> list[float]:
    """The value and its range, without what a logarithm cannot take."""
    return [x for x in (figure.low, figure.value, figure.high) if x is not None and x > 0]


def scatter(points: Sequence[Choice], limits: Limits, size: Size, words: str) -> Markup:
    """The plot of at least one point."""
    x, y = axes(points, limits, size)
    best = front(points)
    dots = [dot(point, x, y) for point in points]
    bounds = limit_lines.lines(limits, x, y, size.frame, dots)
    crossed = [box for path in (corners(best, x, y), *(one.path for one in bounds)) for box in along(path)]
    names = named(points, best, x, y, size.frame, [*dots, *(one.box for one in bounds)], crossed)
    marks = [*grid(x, y, size), *(one.line for one in bounds), staircase(best, x, y)]
    marks += [error_bars(point, x, y) for point in points]
    marks += [marker(point, point in best, x, y) for point in points]
    marks += [*(one.name for one in bounds), *map(label_drawn, names)]
    box = f"0 0 {size.width:.0f} {size.height:.0f}"
    return element("svg", element("desc", words), *marks, viewBox=box, role="img", aria_label=words)


def axes(points: Sequence[Choice], limits: Limits, size: Size) -> tuple[Axis, Axis]:
    """Hours across and dollars up, wide enough for all ranges, and for the budget if it is anywhere near."""
    hours = [x for point in points for x in ends(time_and_cost(point)[0])]
    dollars = [x for point in points for x in ends(time_and_cost(point)[1])]
    if limits.dollars and min(dollars) / 3 < limits.dollars < max(dollars) * 3:
        dollars.append(limits.dollars)
    frame = size.frame
    many = int((frame.right - frame.left) // 70)
    return axis(hours, frame.left, frame.right, many), axis(dollars, frame.bottom, frame.top, 8)


def dot(point: Choice, x: Axis, y: Axis) -> Box:
    """The rectangle of a mark."""
    across, down = (one.at(figure.value) for one, figure in zip((x, y), time_and_cost(point), strict=True))
    reach = RADIUS + (5 if point.chosen else 2)
    return Box(across - reach, down - reach, across + reach, down + reach)


def grid(x: Axis, y: Axis, size: Size) -> list[Markup]:
    """Lines, tick labels, the names of the axes."""
    frame = size.frame
    marks = []
    for tick in x.ticks:
        at = x.at(tick)
        marks.append(element("line", class_="grid", x1=at, x2=at, y1=frame.top, y2=frame.bottom))
        text = amounts.hours(tick).replace(".0 ", " ") if tick else "0"
        marks.append(element("text", text, class_="tick", x=at, y=frame.bottom + 18, text_anchor="middle"))
    for tick in y.ticks:
        at = y.at(tick)
        marks.append(element("line", class_="grid", x1=frame.left, x2=frame.right, y1=at, y2=at))
        text = amounts.dollars(tick).removesuffix(".00")
        marks.append(element("text", text, class_="tick", x=frame.left - 8, y=at + 4, text_anchor="end"))
    log_x, log_y = (" (logarithmic)" if one.logarithmic else "" for one in (x, y))
    middle = (frame.left + frame.right) / 2
    marks.append(
        element("text", f"hours to finish{log_x}", class_="axis", x=middle, y=size.height - 6, text_anchor="middle")
    )
    height = (frame.top + frame.bottom) / 2
    turned = f"rotate(-90 12 {height:.0f})"
    marks.append(
        element("text", f"US dollars{log_y}", class_="axis", x=12, y=height, text_anchor="middle", transform=turned)
    )
    return marks


def staircase(best: Sequence[Choice], x: Axis, y: Axis) -> Markup:
    """The front: nothing is left of it and below it."""
    return element("polyline", class_="front", points=" ".join(f"{a:.1f},{d:.1f}" for a, d in corners(best, x, y)))


def corners(best: Sequence[Choice], x: Axis, y: Axis) -> list[tuple[float, float]]:
    """Pixels of the front: its choices and the steps between them."""
    path: list[tuple[float, float]] = []
    for choice in best:
        hours, dollars = time_and_cost(choice)
        across, down = x.at(hours.value), y.at(dollars.value)
        path += [(across, path[-1][1]), (across, down)] if path else [(across, down)]
    return path


def error_bars(point: Choice, x: Axis, y: Axis) -> Markup:
    """Both ranges."""
    hours, dollars = time_and_cost(point)
    across, down = x.at(hours.value), y.at(dollars.value)
    lines = []
    if hours.low is not None and hours.high is not None:
        lines.append(element("line", class_="error", x1=x.at(hours.low), x2=x.at(hours.high), y1=down, y2=down))
    if dollars.low is not None and dollars.high is not None:
        lines.append(element("line", class_="error", x1=across, x2=across, y1=y.at(dollars.low), y2=y.at(dollars.high)))
    return join(*lines)


def marker(point: Choice, best: bool, x: Axis, y: Axis) -> Markup:
    """A dot, a diamond where it may not fit, a square where it is dear; full on the front; ringed when chosen."""
    hours, dollars = time_and_cost(point)
    across, down = x.at(hours.value), y.at(dollars.value)
    style = "best" if best else "beaten"
    told = element("title", told_of(point))
    if point.verdict in OUTLINES:
        path = f"M{across:.1f},{down:.1f} {OUTLINES[point.verdict]}"
        mark = element("path", told, class_=f"mark point {style}", d=path)
    else:
        mark = element("circle", told, class_=f"mark point {style}", cx=across, cy=down, r=RADIUS)
    ring = element("circle", class_="ring", cx=across, cy=down, r=RADIUS + 5) if point.chosen else Markup("")
    return join(ring, mark)


def told_of(point: Choice) -> str:
    """The tooltip."""
    hours, dollars = time_and_cost(point)
    remark = {"tight": ", may not fit", "dear": ", above the price allowed"}.get(point.verdict, "")
    lines = [point.label + (", chosen" if point.chosen else "") + remark]
    for figure in (hours, dollars):
        spread = f" ({amounts.span(figure)})" if amounts.span(figure) else ""
        lines.append(f"{amounts.said(figure)}{spread}" + (f": {figure.source}" if figure.source else ""))
    return "\n".join(lines)


def along(path: Sequence[tuple[float, float]]) -> list[Box]:
    """Thin rectangles around the pieces of a line."""
    return [Box(min(a, c) - 1, min(b, d) - 1, max(a, c) + 1, max(b, d) + 1) for (a, b), (c, d) in pairwise(path)]


def named(
    points: Sequence[Choice],
    best: Sequence[Choice],
    x: Axis,
    y: Axis,
    frame: Box,
    taken: Sequence[Box],
    crossed: Sequence[Box],
) -> list[Placed]:
    """Names beside the points: the chosen, the fastest and the cheapest first, then the front, then the others."""
    wanted, ranges = [], list(crossed)
    for point in points:
        hours, dollars = time_and_cost(point)
        across, down = x.at(hours.value), y.at(dollars.value)
        honours = [name for name, one in (("fastest", best[:1]), ("cheapest", best[-1:])) if point in one]
        text = point.label + (f" ({', '.join(honours)})" if honours else "")
        rank = 0 if honours or point.chosen else 1 if point in best else 2 if len(points) <= FEW else 3
        wanted.append(Wanted(across, down, text, rank))
        left, right = (x.at(end or hours.value) for end in (hours.low, hours.high))
        bottom, top = (y.at(end or dollars.value) for end in (dollars.low, dollars.high))
        ranges += [Box(left, down - 2, right, down + 2), Box(across - 2, top, across + 2, bottom)]
    return place(wanted, taken, frame, ranges)


def label_drawn(label: Placed) -> Markup:
    """The name, with a line to its point when it is far."""
    box, wanted = label.box, label.wanted
    middle = (box.left + box.right) / 2
    text = element(
        "text",
        wanted.text,
        class_="label strong" if wanted.rank == 0 else "label",
        x=middle,
        y=box.bottom - 4.5,
        text_anchor="middle",
    )
    if not label.far:
        return text
    x = min(max(wanted.x, box.left), box.right)
    y = min(max(wanted.y, box.top), box.bottom)
    return join(element("line", class_="leader", x1=wanted.x, y1=wanted.y, x2=x, y2=y), text)
