"""Memory of one GPU as bars, term by term, and what to turn when it is too much."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from fleet.capacity.memory.memory import Memory
from fleet.capacity.memory.memory import memory as held_by
from fleet.capacity.plan import Choice
from fleet.capacity.report.flags import flags
from fleet.capacity.report.terminal_rows import STYLES, bar, gb, title

if TYPE_CHECKING:
    from rich.console import RenderableType

WIDE = 100  # columns from which there is room for the key that changes a term
SMALL = 0.002  # of the total: terms below it are added up


def memory(choice: Choice, width: int, block: str) -> Iterator[RenderableType]:
    """The table, and the changes when it does not surely fit."""
    assert choice.settled is not None
    held = choice.settled.memory
    yield title("Memory of one GPU", aside="at its peak; GB = 10^9 bytes")
    yield table(held, width, block)
    if choice.changes:
        yield from turns(choice)


def table(held: Memory, width: int, block: str) -> RenderableType:
    """A row per term, then the total against what there is."""
    from rich.table import Table
    from rich.text import Text

    wide = width >= WIDE
    room = min(40, width - (72 if wide else 42))
    scale = max(held.capacity, held.total)
    grid = Table.grid(padding=(0, 1))
    grid.add_column(min_width=24)
    grid.add_column(justify="right")
    grid.add_column(no_wrap=True, width=max(8, room))
    if wide:
        grid.add_column(style="dim")
    for name, size, knob in terms(held):
        cells = [f" {name}", gb(size), bar(size / scale, room, block)]
        grid.add_row(*cells, *([knob] if wide else []))
    style = STYLES.get(held.verdict, "red")
    total = Text(bar(held.total / scale, room, block), style=style)
    grid.add_row(Text(" total", style="bold"), Text(gb(held.total), style="bold"), total, *([""] if wide else []))
    shade = "." if block == "#" else "░"
    grid.add_row(" a process can have", gb(held.capacity), bar(held.capacity / scale, room, shade))
    outer = Table.grid()
    outer.add_row(grid)
    outer.add_row(Text(f" {margin(held)}", style=style))
    outer.add_row(Text(f" the peak is in the {held.phase}", style="dim"))
    return outer


def terms(held: Memory) -> Iterator[tuple[str, float, str]]:
    """(name, bytes, key) of the terms as listed; small ones and what no term names come last, together."""
    large = [term for term in held.terms if term.bytes >= SMALL * held.total]
    for term in large:
        yield term.name, term.bytes, term.knob
    rest = held.total - sum(term.bytes for term in large)
    if rest > SMALL * held.total:
        yield "everything else", rest, ""


def margin(held: Memory) -> str:
    """What is left, or lacking, in one line."""
    span = f"expected {gb(held.low)} to {gb(held.high)} GB"
    host = f"; {gb(held.host)} GB of each machine's RAM" if held.host else ""
    if held.verdict == "fits":
        return f"{span}: at least {gb(held.capacity - held.high)} GB to spare{host}"
    if held.short_of == "host":
        room = f"{gb(held.host_capacity)} GB are assumed, providers differ"
        return f"{span} of {gb(held.capacity)} GB{host}, where {room}"
    if held.verdict == "tight":
        return f"{span} of {gb(held.capacity)} GB: too close to call{host}"
    largest = held.dominant
    return f"{gb(held.total - held.capacity)} GB too much; the largest part is {largest.name}{host}"


def turns(choice: Choice) -> Iterator[RenderableType]:
    """Exact settings, the cheapest first; below each what it costs, and the flags that plan it."""
    from rich.table import Table
    from rich.text import Text

    yield title(
        "What to change", "yellow", "the cheapest first; as `train --set` takes it, gpu.count as a profile does"
    )
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column()
    for number, change in enumerate(choice.changes, 1):
        after = held_by(change.setup)
        saved = f"  -{gb(change.saves)} GB  " if change.saves > 0 else "  "
        grid.add_row(f" {number}.", Text.assemble((change.setting or change.what, "bold"), saved, enough(after)))
        typed = flags(change.setting)
        costs = "; ".join(
            part for part in (change.costs, ram(after, choice), f"plan it with {typed}" if typed else "") if part
        )
        grid.add_row("", Text(costs, style="dim"))
    yield grid


def enough(after: Memory) -> tuple[str, str]:
    """Whether a change suffices, and the style to say it in."""
    if after.verdict == "fits":
        return "then it fits", "green"
    return ("then the GPU suffices", "yellow") if after.high <= after.capacity else ("not enough alone", "dim")


def ram(after: Memory, choice: Choice) -> str:
    """'249 GB of each machine's RAM, where 200 GB are assumed': what a change takes more of than is taken now."""
    if not choice.settled or after.host <= choice.settled.memory.host:
        return ""
    short = f", where {gb(after.host_capacity)} GB are assumed" if after.host > after.host_capacity else ""
    return f"{gb(after.host)} GB of each machine's RAM{short}"
