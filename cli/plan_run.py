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
    from fleet.capacity.finish.remaining import Progress, Remaining

WITH_RUN = ("run", "price", "json", "learn")  # flags that mean something beside --run
WITH_LEARN = ("learn", "json", "offline")
QUIET, QUIET_STEPS = 1800, 20  # seconds, and steps beside them, that saves and evaluations may take without a line


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
        plain: dict[str, Any] = {**found.to_json(), "ended": progress.ended}
        plain |= {} if price or progress.price else {"dollars": None}
        plain |= {} if progress.price else {"spent": None}
        return show.document({"format": 1, "run": plain})
    return show.pairs(rows(found, progress, price or progress.price), False)


def rows(found: Remaining, progress: Progress, price: float) -> dict[str, Any]:
    """As lines. price: USD per GPU-hour, 0 where nobody said one: nothing is then said of dollars."""
    from fleet.capacity.report.amounts import dollars, hours, large, span

    ranged = {name: span(getattr(found, name)) for name in ("hours", "dollars")}
    told = {name: f" ({text})" if text else "" for name, text in ranged.items()}
    more = f"{dollars(found.dollars.value)}{told['dollars']} more: {found.dollars.source}"
    return {
        "run": found.run,
        "done": f"{found.done:.1%}, {found.steps:,} steps to go ({large(found.tokens.value)} tokens)",
        "hours": f"{hours(found.hours.value)}{told['hours']}: {found.hours.source}",
        "dollars": more if price else "no price known: --price USD_PER_GPU_HOUR",
        "spent": dollars(found.spent.value) if progress.price else "not known: the run was told no limits.price",
        **when(found, progress),
    }


def when(found: Remaining, progress: Progress) -> dict[str, str]:
    """When it ends; of a run that says nothing any more, only since when: it may have been killed."""
    if not found.steps:
        return {"finished": "yes"}
    if progress.ended is not None:
        return {"finished": f"stopped ({progress.ended}): the same command goes on"}
    if time.time() - progress.seen > QUIET + QUIET_STEPS * progress.step_seconds[1]:
        return {
            "finished": f"no: nothing new since {moment(progress.seen)}; if it was killed, the same command goes on"
        }
    return {"finishes": moment(found.finish_at.value)}


def moment(seconds: float) -> str:
    """Since 1970, as local time."""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))


def given(flags: Flags, left_out: tuple[str, ...]) -> list[str]:
    """The flags that were typed, but for these."""
    names = [one.name for one in fields(flags) if one.name not in left_out and getattr(flags, one.name)]
    return [f"--{name.replace('_', '-')}" for name in names]
