"""How far a goal goes: the steps that reach it or that it buys, the verdict on an amount, and what it leaves open."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from fleet.capacity.figure import Figure
from fleet.capacity.finish import hours, money
from fleet.capacity.finish.budget import Verdict, judge, most_steps
from fleet.capacity.finish.estimate import Case, Cases
from fleet.capacity.finish.goal import FLAGS, MOST, Goal
from fleet.capacity.finish.hours import Work
from fleet.capacity.setup import Setup
from profiles.errors import WrongInput

DEAREST = 1000.0  # USD per GPU-hour: above it a price is a slip of the keyboard


@dataclass(frozen=True, slots=True)
class Reached:
    """steps: whole ones. tokens: with a range where hours or dollars decide."""

    steps: int
    tokens: Figure
    verdict: Verdict | None


def check(goal: Goal, price: Figure | None, budget: float | None) -> None:
    """Raises WrongInput for a price or a budget that makes no sense, or two amounts that contradict each other."""
    if price is not None and not 0 <= price.value <= DEAREST:  # NaN as well
        raise WrongInput(f"--price is {price.value:g} USD per GPU-hour", f"give a number from 0 to {DEAREST:g}")
    if (goal.kind == "dollars" or budget is not None) and (price is None or not price.value):
        raise WrongInput("--budget needs a price: without one it never ends", "give --price, USD per GPU-hour")
    if budget is None:
        return
    if goal.kind in ("hours", "dollars"):
        raise WrongInput(f"{goal.flag} and {FLAGS['dollars']} contradict each other", f"leave {goal.flag} out")
    if not 0 < budget <= MOST["dollars"]:  # NaN as well
        raise WrongInput(f"--budget is {budget:g}", "give --budget a number above 0, in USD")


def reach(setup: Setup, work: Work, cases: Cases, goal: Goal, budget: float | None) -> Reached:
    """Raises WrongInput when an amount buys nothing, naming the smallest useful one."""
    steps = goal.steps_for(work.step_tokens)
    if steps is None:
        unit = "h" if goal.kind == "hours" else "USD"
        verdict = judge(cost(setup, work, cases.expected, unit), goal.amount, unit, None, work.step_tokens)
        _refuse_nothing(verdict, goal.flag)
        return Reached(verdict.steps, _bought(setup, work, cases, goal, verdict), verdict)
    source = f"{steps:,} steps x {work.step_tokens:,}"
    tokens = Figure(float(steps * work.step_tokens), "tokens", source)
    if budget is None:
        return Reached(steps, tokens, None)
    verdict = judge(cost(setup, work, cases.expected, "USD"), budget, "USD", steps, work.step_tokens)
    _refuse_nothing(verdict, FLAGS["dollars"])
    return Reached(steps, tokens, verdict)


def cost(setup: Setup, work: Work, case: Case, unit: str) -> Callable[[int], float]:
    """Steps -> hours ("h") or dollars ("USD"); never falls."""
    if unit == "h":
        return lambda steps: sum(hours.seconds(work, case, steps).values()) / 3600
    return lambda steps: sum(money.dollars(setup, work, case, steps).values())


def held(goal: Goal, spent: Figure, taken: Figure, price: Figure) -> tuple[Figure, Figure]:
    """(dollars, hours) of a goal that fixes one of them: that one has no range, the other has the price's."""
    low = price.value if price.low is None else price.low
    high = price.value if price.high is None else price.high
    if goal.kind == "hours":
        taken = replace(taken, source="as many as --hours allows", low=taken.value, high=taken.value)
        ends = (low / price.value, high / price.value) if price.value else (1.0, 1.0)
        return replace(spent, low=spent.value * ends[0], high=spent.value * ends[1]), taken
    spent = replace(spent, source="as much as --budget allows", low=spent.value, high=spent.value)
    return spent, replace(
        taken, low=taken.value * price.value / high, high=taken.value * price.value / (low or price.value)
    )


def _bought(setup: Setup, work: Work, cases: Cases, goal: Goal, verdict: Verdict) -> Figure:
    """Tokens an amount buys, from the slow to the fast case."""
    slow, fast = (most_steps(cost(setup, work, case, verdict.unit), goal.amount) for case in (cases.slow, cases.fast))
    size = float(work.step_tokens)
    source = f"{verdict.steps:,} steps x {work.step_tokens:,}, the most that {goal.flag} {goal.amount:,.10g} buys"
    low, high = min(slow, verdict.steps) * size, max(fast, verdict.steps) * size
    return Figure(verdict.steps * size, "tokens", source, low, high)


def _refuse_nothing(verdict: Verdict, flag: str) -> None:
    """Raises WrongInput when an amount buys less than is useful."""
    if verdict.given >= verdict.smallest:
        return
    bought = f"{verdict.steps} optimizer steps" if verdict.steps else "not one optimizer step"
    raise WrongInput(
        f"{_amount(verdict.given, verdict.unit)} buys {bought}: start-up and a checkpoint take the rest",
        f"the smallest useful {flag} is {_amount(_up(verdict.smallest), verdict.unit)} (start-up, "
        f"{verdict.useful} steps, one checkpoint written and uploaded)",
    )


def _amount(value: float, unit: str) -> str:
    return f"${value:,.2f}" if unit == "USD" else f"{value:,.2f} h"


def _up(value: float) -> float:
    """To hundredths, so that what is named suffices."""
    return math.ceil(value * 100 - 1e-9) / 100
