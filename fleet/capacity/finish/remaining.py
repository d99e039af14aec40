"""What is left of a run in progress, by its own numbers: no prediction, only what it measured."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from fleet.capacity.figure import Figure
from profiles.errors import CheckFailed, WrongInput


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a run stands. step of steps; tokens: trained on so far, of step_tokens each.

    step_seconds: (a fast quartile, the median, a slow quartile) of the newest steps. overhead: seconds of saves and
    evaluations per step, between the steps. seen: seconds since 1970 of its newest line. gpus are paid for at `price`
    USD per GPU-hour; spent: dollars so far.
    """

    run: str
    step: int
    steps: int
    tokens: int
    step_tokens: int
    step_seconds: tuple[float, float, float]
    overhead: float
    gpus: int
    price: float
    spent: float
    seen: float
    ended: str | None = None

    def __post_init__(self) -> None:
        """Raises WrongInput."""
        numbers = (*self.step_seconds, self.overhead, self.price, self.spent, float(self.tokens))
        if min(self.step, self.steps, self.step_tokens, self.gpus) < 0 or not all(
            math.isfinite(number) and number >= 0 for number in numbers
        ):
            raise WrongInput(f"the numbers of {self.run} make no sense", "look at its training_metrics.jsonl")


@dataclass(frozen=True, slots=True)
class Remaining:
    """Left over. finish_at: seconds since 1970 when it will be done, if it goes on without a stop since `seen`."""

    run: str
    steps: int
    tokens: Figure
    hours: Figure
    dollars: Figure
    spent: Figure
    finish_at: Figure
    done: float  # share

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)


def remaining(progress: Progress, price: float | None = None) -> Remaining:
    """price: USD per GPU-hour, None: the run's own. Raises CheckFailed where there is nothing to go by."""
    if not progress.steps:
        raise CheckFailed(f"nobody knows how many steps {progress.run} shall have", "its config.json says train.steps")
    if not progress.step or not progress.step_seconds[1]:
        raise CheckFailed(f"{progress.run} has not finished a step yet", "look again after some steps")
    left = max(0, progress.steps - progress.step)
    cost = progress.price if price is None else price
    source = f"{left:,} steps at the median of the newest, saves and evaluations included"
    hours = [left * (one + progress.overhead) / 3600 for one in progress.step_seconds]
    taken = Figure(hours[1], "h", source, min(hours), max(hours))
    return Remaining(
        run=progress.run,
        steps=left,
        tokens=Figure(float(left * progress.step_tokens), "tokens", f"{left:,} steps x {progress.step_tokens:,}"),
        hours=taken,
        dollars=taken.times(
            progress.gpus * cost,
            "USD",
            f"hours x {progress.gpus} x {cost:g} USD per GPU-hour",
        ),
        spent=Figure(progress.spent, "USD", "the run's own count"),
        finish_at=Figure(
            progress.seen + hours[1] * 3600,
            "s since 1970",
            "newest line + what is left",
            progress.seen + min(hours) * 3600,
            progress.seen + max(hours) * 3600,
        ),
        done=min(1.0, progress.step / progress.steps),
    )
