"""Speed, hours, dollars, checkpoints and disk of the chosen machine, each with its range."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from fleet.capacity.figure import Figure
from fleet.capacity.finish.bill import Bill
from fleet.capacity.finish.goal import Goal
from fleet.capacity.plan import Choice
from fleet.capacity.report.amounts import dollars, hours, large, seconds, span
from fleet.capacity.report.terminal_rows import gb, pairs, title

if TYPE_CHECKING:
    from rich.console import RenderableType

SMALL = 0.01  # of a whole: parts below it are not named
NEVER = 1e4  # hours between interruptions that nobody waits for


def speed(choice: Choice) -> Iterator[RenderableType]:
    """Tokens per second, MFU, and where a step's time goes."""
    assert choice.settled is not None and choice.settled.speed is not None
    found, setup = choice.settled.speed, choice.settled.setup
    own = ""
    if abs(found.mfu_own.value - found.mfu_bf16.value) > 0.01:
        kind = {"mxfp8": "fp8", "nvfp4": "fp4"}.get(setup.precision, setup.precision.split("-")[0])
        own = f"; {found.mfu_own.value:.1f}% of the {kind} peak"
    each = f", {large(found.per_gpu.value)} on each GPU" if setup.gpus > 1 else ""
    yield title("Speed")
    yield pairs(
        [
            ("tokens/s", f"{large(found.total.value)}{counted(found.total)}{each}"),
            ("MFU", f"{found.mfu_bf16.value:.1f}%{percent(found.mfu_bf16)} of the bf16 peak{own}"),
            ("one step", f"{seconds(found.step_seconds)}: {shares(found.parts, found.step_seconds)}"),
        ]
    )


def finish(choice: Choice, goal: Goal) -> Iterator[RenderableType]:
    """Hours, dollars, checkpoints, disk, transfers."""
    bill = choice.bill
    assert bill is not None
    yield title("Time and money", aside=f"to train on {large(bill.tokens.value)} tokens, {bill.steps:,} steps")
    rows = [("hours", f"{hours(bill.hours.value)}{ranged(bill.hours)}: {hour_shares(bill)}")]
    if goal.kind in ("hours", "dollars"):
        asked = dollars(goal.amount) if goal.kind == "dollars" else hours(goal.amount)
        rows.append(("it buys", f"{large(bill.tokens.value)} tokens{counted(bill.tokens)} for {asked}"))
    rows += [("dollars", money(choice, bill)), ("checkpoints", checkpoints(bill)), ("disk", disk(bill))]
    moved = ", ".join(f"{name} {seconds(part.value)}" for name, part in bill.transfers.items() if part.value > 0)
    yield pairs([*rows, *([("transfers", moved)] if moved else [])])


def money(choice: Choice, bill: Bill) -> str:
    """Dollars with their range, or how to get them."""
    spent = choice.dollars
    if choice.price is None or spent is None:
        return "no price known: --price USD_PER_GPU_HOUR, or a provider's key"
    price = f"{choice.gpus} x ${choice.price.value:,.2f} per hour ({choice.price.source})"
    other = {name: part for name, part in bill.money.items() if name != "GPUs" and part.value >= 0.005}
    beside = "".join(f"; {name} {dollars(part.value)}" for name, part in other.items())
    rate = f"; {dollars(bill.per_billion.value)} per 10^9 tokens" if bill.per_billion else ""
    return f"{dollars(spent.value)}{ranged(spent)} at {price}{beside}{rate}"


def checkpoints(bill: Bill) -> str:
    """Size, cadence, and what an interruption costs."""
    chosen = bill.cadence
    every = f"{chosen.steps:,} steps ({seconds(chosen.seconds)})"
    risk = ""
    if bill.mtbf.value < NEVER:
        risk = f"; an interruption every {hours(bill.mtbf.value)} loses {seconds(chosen.at_risk)} of training"
    return f"{gb(bill.checkpoint.value)} GB every {every}, a stall of {seconds(chosen.stall)} each{risk}"


def disk(bill: Bill) -> str:
    """What must be free, by what it is for."""
    room = bill.disk
    kinds = {
        "image": room.image,
        "data": room.dataset,
        f"{room.copies} checkpoints": room.checkpoints,
        "export": room.export,
        "logs": room.logs,
        "working space": room.working,
    }
    told = ", ".join(f"{name} {gb(size)}" for name, size in kinds.items() if size >= 5e7)
    return f"{gb(room.total)} GB: {told}"


def hour_shares(bill: Bill) -> str:
    """'training 96%, compile 2%, ...': where paid time goes."""
    return shares({name: part.value for name, part in bill.parts.items()}, bill.hours.value)


def shares(parts: Mapping[str, float], whole: float) -> str:
    """Parts as percentages, the largest first."""
    if whole <= 0:
        return "nothing"
    rows = sorted(((value / whole, name) for name, value in parts.items() if value >= SMALL * whole), reverse=True)
    return ", ".join(f"{name.replace('_', ' ')} {share:.0%}" for share, name in rows)


def ranged(figure: Figure) -> str:
    """' (2.7–3.5 h)', or nothing."""
    told = span(figure)
    return f" ({told})" if told else ""


def counted(figure: Figure) -> str:
    """' (684k–923k)', or nothing: a range without its unit."""
    if figure.low is None or figure.high is None:
        return ""
    low, high = large(figure.low), large(figure.high)
    return "" if low == high else f" ({low}–{high})"


def percent(figure: Figure) -> str:
    """' (40–46)'."""
    if figure.low is None or figure.high is None or f"{figure.low:.0f}" == f"{figure.high:.0f}":
        return ""
    return f" ({figure.low:.0f}–{figure.high:.0f})"
