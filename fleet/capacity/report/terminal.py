"""A plan on a terminal: the verdict first, then memory, speed, time, money, what to turn, and the other machines.

Made of rich's renderables: colours and bars on a terminal, plain text in a pipe, as wide as there is room.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from fleet.capacity.finish.goal import Goal
from fleet.capacity.plan import Choice, Plan
from fleet.capacity.report import terminal_finish, terminal_machines, terminal_memory
from fleet.capacity.report.amounts import dollars, hours, large
from fleet.capacity.report.document import sources
from fleet.capacity.report.terminal_rows import STYLES, card, gb, pairs, title

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

VERDICTS = {
    "fits": "it fits",
    "tight": "it may not fit",
    "refused": "it does not fit",
    "impossible": "it cannot be done",
    "poor": "the money or the time buys nothing",
    "dear": "it costs more per hour than allowed",
}
SETTINGS = {"refused": "weighed with"}  # nobody should train with them


def show(plan: Plan, console: Console, notes: Sequence[str] = (), with_sources: bool = False) -> None:
    """Prints the whole report. notes: what was assumed, and what providers said."""
    with console.capture() as caught:
        for part in report(plan, console.width, notes, with_sources, bars(console)):
            console.print(part)
    for line in caught.get().splitlines():
        console.file.write(line.rstrip() + "\n")


def report(
    plan: Plan, width: int, notes: Sequence[str] = (), with_sources: bool = False, block: str = "█"
) -> Iterator[RenderableType]:
    """The parts, in reading order. width: columns there are; block: the character of bars."""
    yield from head(plan)
    chosen = plan.chosen
    if chosen.settled is not None:
        yield from terminal_memory.memory(chosen, width, block)
        if chosen.settled.speed is not None:
            yield from terminal_finish.speed(chosen)
    if chosen.bill is not None:
        yield from terminal_finish.finish(chosen, plan.goal)
    yield from terminal_machines.machines(plan, width)
    if plan.table:
        yield from terminal_machines.batches(plan.table, width)
    yield from remarks(plan, notes)
    if with_sources:
        yield from listed("Sources", sources(plan))
    else:
        yield from hint()


def head(plan: Plan) -> Iterator[RenderableType]:
    """Model, machine and verdict, and what would be typed to train so."""
    from rich.text import Text

    chosen, work = plan.chosen, plan.workload
    yield Text.assemble(
        (work.shape.name, "bold"),
        f" on {machine(chosen)}: ",
        (VERDICTS.get(chosen.verdict, chosen.verdict), f"bold {STYLES.get(chosen.verdict, 'red')}"),
        short(chosen, plan.goal),
    )
    yield pairs(
        [
            ("model", parameters(plan)),
            ("step", f"{counted(work.batch, 'sequence')} of {work.length:,} = {work.step_tokens:,} tokens"),
            *([(SETTINGS.get(chosen.verdict, "train with"), settings(chosen))] if chosen.settled else []),
            *([("because", chosen.why)] if chosen.verdict not in ("fits", "refused") else []),
        ]
    )


def short(choice: Choice, goal: Goal) -> str:
    """', 53.9 of 84.7 GB, 5.4 h, $107': the answer in one line; of hours and budgets also what they buy."""
    told = []
    if choice.settled is not None:
        held = choice.settled.memory
        told.append(f"{gb(held.total)} of {gb(held.capacity)} GB")
    if choice.bill is not None:
        told.append(hours(choice.bill.hours.value))
    if choice.dollars is not None:
        told.append(dollars(choice.dollars.value))
    if choice.bill is not None and goal.kind in ("hours", "dollars"):
        told.append(f"buys {large(choice.bill.tokens.value)} tokens")
    return "".join(f", {part}" for part in told)


def machine(choice: Choice) -> str:
    """'8 x H100 SXM5 80GB'."""
    return f"{choice.gpus} x {card(choice.gpu)}"


def parameters(plan: Plan) -> str:
    """Parameters by kind, and the cost of a token."""
    counts = plan.counts
    kinds = {
        "blocks": counts.matrices + counts.vectors,
        "embedding": counts.embedding + counts.positions,
        "value embeddings": counts.value_embeddings,
        "head": counts.head,
    }
    told = ", ".join(f"{name} {large(value)}" for name, value in kinds.items() if value)
    return f"{large(counts.total)} parameters ({told}); {plan.flops.total / 1e9:,.3g} GFLOP per token"


def settings(choice: Choice) -> str:
    """The trainer's own keys, as `train --set` takes them, and what follows."""
    assert choice.settled is not None
    setup = choice.settled.setup
    keys = {
        "precision.name": setup.precision,
        "model.context": setup.length,
        "train.batch": setup.step_tokens // setup.length,
        "train.micro_batch": setup.micro_batch,
        "train.checkpointing": setup.checkpointing,
        "train.compile": str(setup.compile).lower(),
        **({"train.loss_chunk": setup.loss_chunk} if setup.loss_chunk else {}),
        "parallel.zero": setup.zero,
        **({"parallel.offload": setup.offload} if setup.offload != "none" else {}),
        **({"optim.name": setup.optimizer} if setup.optimizer != "adamw" else {}),
    }
    told = " ".join(f"{key}={value}" for key, value in keys.items())
    return f"{told} ({counted(setup.accumulation, 'micro-batch', 'es')} per step and GPU)"


def counted(number: int, name: str, plural: str = "s") -> str:
    """'1 sequence', '256 sequences'."""
    return f"{number:,} {name}{'' if number == 1 else plural}"


def remarks(plan: Plan, notes: Sequence[str]) -> Iterator[RenderableType]:
    """Warnings, advice, assumptions: each once."""
    bill = plan.chosen.bill
    warnings = list(dict.fromkeys([*plan.warnings, *(bill.warnings if bill else ())]))
    if plan.chosen.verdict != "fits":
        warnings = [line for line in warnings if line != plan.chosen.why]
    yield from listed("Warnings", warnings, "yellow")
    yield from listed("Advice", plan.advice)
    yield from listed("Notes", notes)


def listed(name: str, lines: Sequence[str], style: str = "") -> Iterator[RenderableType]:
    """A heading and lines below it; nothing without lines."""
    from rich.table import Table
    from rich.text import Text

    if not lines:
        return
    yield title(name, style)
    grid = Table.grid(padding=(0, 1))
    for line in lines:
        grid.add_row(Text(" -"), Text(line))
    yield grid


def hint() -> Iterator[RenderableType]:
    """Where the rest is."""
    from rich.text import Text

    yield Text("\nwhere each number comes from: --sources; everything: --json; as a page: --plot out.html", style="dim")


def bars(console: Console) -> str:
    """A character that this console can print."""
    try:
        "█".encode(console.encoding)
    except (UnicodeEncodeError, LookupError):
        return "#"
    return "█"
