"""The ranking of machines, and the table of micro-batches over GPUs and sequence lengths."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from fleet.capacity.advice.batches import Cell
from fleet.capacity.plan import Choice, Plan
from fleet.capacity.report.amounts import dollars, hours, large
from fleet.capacity.report.terminal_rows import STYLES, gb, title

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table
    from rich.text import Text

SHOWN = 8  # machines of a ranking; all of them with --json
WIDE = 100
RUNS = ("fits", "tight", "dear")
NOT = {"refused": "too large for any such number of", "impossible": "not possible on"}


def machines(plan: Plan, width: int) -> Iterator[RenderableType]:
    """The best of them, the chosen one in its place, and in a line each kind that does not do."""
    if len(plan.choices) < 2:
        return
    running = [choice for choice in plan.choices if choice.bill is not None and choice.verdict in RUNS]
    shown = running[:SHOWN]
    if plan.chosen in running and plan.chosen not in shown:
        shown = [*shown[: SHOWN - 1], plan.chosen]
    yield title("Machines", aside=order(plan))
    if shown:
        yield table(plan, running, shown, width)
    yield from others(plan, len(running) - len(shown))


def order(plan: Plan) -> str:
    """What the first of the ranking is first in."""
    if plan.goal.kind in ("hours", "dollars"):
        return f"the cheapest tokens first; what {plan.goal.flag} buys on each"
    if any(choice.price for choice in plan.choices):
        return "the cheapest to finish first"
    return "the fewest GPU-hours first: no prices known"


def table(plan: Plan, running: Sequence[Choice], shown: Sequence[Choice], width: int) -> RenderableType:
    """A row per machine; `>` marks the one that is reported above. Columns: as much as there is room and knowledge."""
    from rich.text import Text

    columns: dict[str, Callable[[Choice], str | Text]] = {
        "": lambda choice: ">" if choice is plan.chosen else "",
        " ": lambda choice: f"{running.index(choice) + 1}.",
        "GPUs": lambda choice: f"{choice.gpus} x {choice.gpu.key}",
        "  ": lambda choice: Text(choice.verdict, style=STYLES.get(choice.verdict, "red")),
        **settled_columns(width),
    }
    if plan.goal.kind in ("hours", "dollars"):
        columns["tokens"] = lambda choice: large(choice.bill.tokens.value) if choice.bill else "-"
    columns["hours"] = lambda choice: hours(choice.bill.hours.value) if choice.bill else "-"
    if any(choice.price for choice in plan.choices):
        columns["$/h"] = lambda choice: "-" if choice.hourly is None else f"{choice.hourly:,.2f}"
        columns["dollars"] = lambda choice: dollars(choice.dollars.value) if choice.dollars else "-"
    grid = headed([name.strip() for name in columns], left=("GPUs", "", "settings"))
    for choice in shown:
        grid.add_row(*(column(choice) for column in columns.values()))
    return grid


def settled_columns(width: int) -> dict[str, Callable[[Choice], str | Text]]:
    """What the settings of a machine come to."""

    def total(choice: Choice) -> str:
        return gb(choice.settled.memory.total) if choice.settled else "-"

    def micro(choice: Choice) -> str:
        return str(choice.settled.setup.micro_batch) if choice.settled else "-"

    def rate(choice: Choice) -> str:
        return large(choice.settled.speed.total.value) if choice.settled and choice.settled.speed else "-"

    return {"GB": total, "micro": micro, **({"settings": words} if width >= WIDE else {}), "tokens/s": rate}


def words(choice: Choice) -> str:
    """'fp8-current, ZeRO-2, full'."""
    assert choice.settled is not None
    setup = choice.settled.setup
    told = [setup.precision, f"ZeRO-{setup.zero}" if setup.zero else "", setup.checkpointing, setup.offload]
    return ", ".join(word for word in told if word not in ("", "none"))


def others(plan: Plan, more: int) -> Iterator[RenderableType]:
    """What is not in the table, and the types of which no number does."""
    from rich.text import Text

    if more > 0:
        yield Text(f" and {more} more: --json has them all", style="dim")
    good = {choice.gpu.key for choice in plan.choices if choice.bill is not None and choice.verdict in RUNS}
    for verdict, said in NOT.items():
        left = [one for one in plan.choices if one.verdict == verdict and one.gpu.key not in good]
        keys = sorted({one.gpu.key for one in left})
        why = f" ({left[0].why})" if left and verdict == "impossible" else ""
        if keys:
            yield Text(f" {said} {', '.join(keys)}{why}", style="dim")


def batches(cells: Sequence[Cell], width: int) -> Iterator[RenderableType]:
    """Sequences in the largest micro-batch and tokens/s of one GPU, by GPU and length."""
    lengths = sorted({cell.length for cell in cells})
    columns = max(1, (width - 24) // 11)
    keys = list(dict.fromkeys(cell.gpu for cell in cells))
    found = {(cell.gpu, cell.length): cell for cell in cells}
    aside = "sequences at once, tokens/s, on one GPU; s, f: selective or full recomputation"
    yield title("Largest micro-batch by sequence length", aside=aside)
    for start in range(0, len(lengths), columns):
        part = lengths[start : start + columns]
        grid = headed([" GPU", "", *(f"{length:,}" for length in part)], left=(" GPU", ""))
        for key in keys:
            row = [found[key, length] for length in part if (key, length) in found]
            kinds = {cell.precision for cell in row}
            grid.add_row(f" {key}", kinds.pop() if len(kinds) == 1 else "", *(cell_text(cell) for cell in row))
        yield grid


def cell_text(cell: Cell) -> str:
    """'64s 71k'; '-' where not even one sequence fits."""
    if not cell.micro_batch:
        return "-"
    mark = {"selective": "s", "full": "f"}.get(cell.checkpointing, "")
    return f"{cell.micro_batch:,}{mark} {large(float(f'{cell.tokens_per_second:.2g}'))}"


def headed(names: Sequence[str], left: Sequence[str]) -> Table:
    """A table without lines; numbers to the right."""
    from rich.table import Table

    made = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="dim")
    for name in names:
        made.add_column(name, justify="left" if name in left else "right", no_wrap=True)
    return made
