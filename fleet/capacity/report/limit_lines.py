"""What the run was to stay under, as lines in the plot of cost against time, with names that cover no point."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fleet.capacity.report.amounts import dollars, hours
from fleet.capacity.report.labels import BOLD, LINE, Box, covers
from fleet.capacity.report.page import Limits
from fleet.capacity.report.svg import Markup, element
from fleet.capacity.report.ticks import Axis

STEPS = 40


@dataclass(frozen=True, slots=True)
class Bound:
    """A line, its name, and the rectangle that the name takes."""

    line: Markup
    name: Markup
    box: Box
    path: tuple[tuple[float, float], ...]


def lines(limits: Limits, x: Axis, y: Axis, frame: Box, dots: Sequence[Box]) -> list[Bound]:
    """The budget across, the most hours upwards, and the price of a machine as a slope (cost = price x time)."""
    paths: list[tuple[str, list[tuple[float, float]]]] = []
    steps = [step / STEPS for step in range(STEPS + 1)]
    if limits.dollars and y.ticks[0] <= limits.dollars <= y.ticks[-1]:
        at = y.at(limits.dollars)
        path = [(frame.left + part * (frame.right - frame.left), at) for part in steps]
        paths.append((f"budget {dollars(limits.dollars)}", path))
    if limits.hours and x.ticks[0] <= limits.hours <= x.ticks[-1]:
        at = x.at(limits.hours)
        path = [(at, frame.top + part * (frame.bottom - frame.top)) for part in steps]
        paths.append((f"at most {hours(limits.hours)}", path))
    if limits.dollars_per_hour and (path := slope(limits.dollars_per_hour, x, y)):
        paths.append((f"at most {dollars(limits.dollars_per_hour).removesuffix('.00')}/h", path))
    bounds: list[Bound] = []
    for text, path in paths:
        bounds.append(bound(text, path, frame, [*dots, *(other.box for other in bounds)]))
    return bounds


def slope(price: float, x: Axis, y: Axis) -> list[tuple[float, float]]:
    """Where a machine of `price` dollars per hour lies inside the plot; nothing if that is outside."""
    low, high = max(x.ticks[0], y.ticks[0] / price), min(x.ticks[-1], y.ticks[-1] / price)
    if low >= high:
        return []
    low = max(low, high / 1e6)
    times = [low * (high / low) ** (step / STEPS) for step in range(STEPS + 1)]
    return [(x.at(time), y.at(time * price)) for time in times]


def bound(text: str, path: Sequence[tuple[float, float]], frame: Box, taken: Sequence[Box]) -> Bound:
    """The line and its name at the first place from its end where it covers nothing."""
    width = BOLD * len(text)
    boxes = []
    for across, down in reversed(path):
        for left, top in ((across - width - 8, down - LINE - 2), (across + 8, down - LINE - 2), (across + 8, down + 3)):
            boxes.append(Box(left, top, left + width, top + LINE))
    inside = [box for box in boxes if box.inside(frame)] or boxes
    box = next((one for one in inside if not covers(one, taken)), inside[0])
    points = " ".join(f"{across:.1f},{down:.1f}" for across, down in path)
    middle = (box.left + box.right) / 2
    name = element("text", text, class_="limit-name", x=middle, y=box.bottom - 4, text_anchor="middle")
    return Bound(element("polyline", class_="limit", points=points), name, box, tuple(path))
