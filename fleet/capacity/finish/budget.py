"""The other way round: how many steps hours or dollars buy, and the least that buys anything."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

USEFUL_STEPS = 100  # fewer say nothing about a run: the first ones compile, and the rate still warms up
MOST_STEPS = 1 << 50


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether an amount buys what is wanted. Amounts in `unit` (USD or h); smallest: the smallest useful amount."""

    given: float
    unit: str
    wanted: float | None  # what the goal takes; None: the amount itself is the goal
    enough: bool
    steps: int  # what it buys
    tokens: float
    share: float  # of the goal
    smallest: float
    useful: int  # steps in it

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return {name: getattr(self, name) for name in self.__slots__}


def most_steps(cost: Callable[[int], float], limit: float) -> int:
    """The largest number of steps that costs at most `limit`; 0 when not even one does. cost: never falls."""
    if cost(1) > limit:
        return 0
    low, high = 1, 2
    while high < MOST_STEPS and cost(high) <= limit:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if cost(middle) <= limit else (low, middle)
    return low


def smallest(cost: Callable[[int], float], useful: int = USEFUL_STEPS) -> float:
    """Start-up, `useful` optimizer steps, and one checkpoint written and uploaded."""
    return cost(useful)


def judge(cost: Callable[[int], float], given: float, unit: str, steps: int | None, step_tokens: int) -> Verdict:
    """Of an amount against a goal of `steps` (None: the amount is the goal)."""
    bought = most_steps(cost, given)
    useful = USEFUL_STEPS if steps is None else min(USEFUL_STEPS, steps)
    return Verdict(
        given=given,
        unit=unit,
        wanted=None if steps is None else cost(steps),
        enough=bought >= (useful if steps is None else steps),
        steps=bought,
        tokens=float(bought * step_tokens),
        share=1.0 if steps is None else min(1.0, bought / steps),
        smallest=smallest(cost, useful),
        useful=useful,
    )
