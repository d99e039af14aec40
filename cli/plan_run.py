"""Runs of one's own: what remains of one in progress (--run), and keeping what one measured (--learn)."""

from __future__ import annotations

import sys
import time
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cli import show
from cli.amounts import number
from cli.plan_flags import Flags
from profiles.errors import WrongInput

if TYPE_CHECKING:
    from fleet.capacity.finish.remaining import Remaining

WITH_RUN = ("run", "price", "json", "learn")  # flags that mean something beside --run
WITH_LEARN = ("learn", "json", "offline")


def learn(flags: Flags, home: Path) -> bool:
    """Keeps what the run of --learn measured, and says so. True when nothing else was asked.

    Raises WrongInput, CheckFailed (nothing to learn yet) and OutsideFailed.
    """
    from dataclasses import asdict

    from cli.measured_file import remember

    found = remember(home, Path(flags.learn))
    line = (
        f"kept: {found.source}: {found.tokens_per_second_per_gpu:,.0f} tokens/s per GPU on {found.gpus} x {found.gpu}"
    )
    alone = not given(flags, WITH_LEARN)
    if flags.json and alone:
        show.document({"format": 1, "learned": asdict(found)})
    else:
        print(line, file=sys.stderr if flags.json else sys.stdout)
    return alone


def remains(flags: Flags) -> None:
    """What is left of the run of --run, by its own numbers. Raises WrongInput and CheckFailed."""
    from cli.measured import progress_of
    from fleet.capacity.finish.remaining import remaining

    if beside := given(flags, WITH_RUN):
        raise WrongInput(
            f"--run tells what remains of that run, so {' and '.join(beside)} means nothing",
            f"leave {' and '.join(beside)} out, or --run",
        )
    price = number(flags.price, "--price", 0, 1000) if flags.price else None
    progress = progress_of(Path(flags.run))
    found = remaining(progress, price)
    if flags.json:
        return show.document({"format": 1, "run": {**found.to_json(), "ended": progress.ended}})
    return show.pairs(rows(found, progress.ended), False)


def rows(found: Remaining, ended: str | None) -> dict[str, Any]:
    """As lines."""
    from fleet.capacity.report.amounts import dollars, hours, large, span

    at = time.strftime("%Y-%m-%d %H:%M", time.localtime(found.finish_at.value))
    ranged = {name: span(getattr(found, name)) for name in ("hours", "dollars")}
    told = {name: f" ({text})" if text else "" for name, text in ranged.items()}
    return {
        "run": found.run,
        "done": f"{found.done:.1%}, {found.steps:,} steps to go ({large(found.tokens.value)} tokens)",
        "hours": f"{hours(found.hours.value)}{told['hours']}: {found.hours.source}",
        "dollars": f"{dollars(found.dollars.value)}{told['dollars']} more: {found.dollars.source}",
        "spent": dollars(found.spent.value),
        "finished": "yes"
        if not found.steps
        else at
        if ended is None
        else f"stopped ({ended}): the same command goes on",
    }


def given(flags: Flags, left_out: tuple[str, ...]) -> list[str]:
    """The flags that were typed, but for these."""
    names = [one.name for one in fields(flags) if one.name not in left_out and getattr(flags, one.name)]
    return [f"--{name.replace('_', '-')}" for name in names]
