"""Why a run ends: steps, tokens, hours, dollars, patience, a signal. What the first rank sees decides for all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from trainer.config import Config
from trainer.errors import STOPPED_EARLY
from trainer.run.stop import SIGNALS, StopRequest


@dataclass(frozen=True)
class End:
    """reason: for people and for the metrics; exit_code: 0 the run is done, 75 the same command goes on."""

    reason: str
    exit_code: int


ENDS = (
    End("done", 0),
    End("the token limit", 0),
    End("no better validation loss", 0),
    End("the time limit", STOPPED_EARLY),
    End("the dollar limit", STOPPED_EARLY),
    *(End(number.name, STOPPED_EARLY) for number in SIGNALS),
)
NONE = -1
LIMITS = frozenset({"the time limit", "the dollar limit"})


def number(
    config: Config, stop: StopRequest, *, step: int, tokens: int, waited: int, seconds: float, dollars: float
) -> int:
    """The place in ENDS of what ends the run now, or NONE. Signals come last in ENDS, so that over several ranks,
    of which perhaps one was signalled, the highest number is the most urgent reason.

    seconds: of this attempt; dollars: of the whole run; waited: evaluations without a better loss.
    """
    limits = config.limits
    if stop.reason:
        return next(place for place, end in enumerate(ENDS) if end.reason == stop.reason)
    reached = (
        step >= config.train.steps,
        bool(limits.tokens) and tokens >= limits.tokens,
        bool(limits.patience) and waited >= limits.patience,
        bool(limits.hours) and seconds >= limits.hours * 3600,
        bool(limits.dollars) and dollars >= limits.dollars,
    )
    return next((place for place, true in enumerate(reached) if true), NONE)


def agree(mine: int, highest: Callable[[float], float]) -> End | None:
    """The end that all ranks take, when `highest` gives the greatest number over the ranks."""
    place = int(highest(float(mine)))
    return None if place == NONE else ENDS[place]
