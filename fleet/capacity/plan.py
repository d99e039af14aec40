"""The whole answer: will it fit, how fast, how long, how much; on the machine asked for and on all others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from fleet.capacity.advice.batches import Cell
from fleet.capacity.advice.data import on_data
from fleet.capacity.choose import Settled, settle
from fleet.capacity.count import Counts, Flops, count, flops_per_token
from fleet.capacity.figure import Figure
from fleet.capacity.finish.bill import Bill, finish
from fleet.capacity.finish.goal import Goal
from fleet.capacity.finish.habits import Habits
from fleet.capacity.memory.fit import Change, changes
from fleet.capacity.speed.measured import Measured
from fleet.capacity.workload import Workload, check
from profiles.errors import StokerError, WrongInput
from profiles.gpus import Gpu

Prices = Callable[[str, int], Figure | None]  # GPU's key, count -> USD per GPU-hour
HabitsFor = Callable[[str, int], Habits]  # GPU's key, count -> with that machine's prices of storage and traffic
ORDER = {"fits": 0, "tight": 1, "dear": 2, "refused": 3, "impossible": 4}


@dataclass(frozen=True, slots=True)
class Choice:
    """One machine: what the training comes to there."""

    gpu: Gpu
    gpus: int
    verdict: str  # fits, tight, refused (too large), impossible (batch or precision), or dear (above --max-price)
    why: str
    settled: Settled | None = None
    price: Figure | None = None  # USD per GPU-hour
    bill: Bill | None = None
    changes: tuple[Change, ...] = ()

    @property
    def hourly(self) -> float | None:
        """USD per hour of the whole machine."""
        return None if self.price is None else self.price.value * self.gpus

    @property
    def dollars(self) -> Figure | None:
        """To finish; None where no price is known."""
        return self.bill.dollars if self.bill and self.price else None


@dataclass(frozen=True, slots=True)
class Plan:
    """chosen: the machine asked for, or the first of `choices`, which are sorted: what fits, by cost, then by time."""

    workload: Workload
    goal: Goal
    counts: Counts
    flops: Flops
    chosen: Choice
    choices: tuple[Choice, ...]
    advice: tuple[str, ...]
    warnings: tuple[str, ...]
    table: tuple[Cell, ...] = field(default=())


def plan(
    workload: Workload,
    goal: Goal,
    machines: Iterable[tuple[Gpu, int]],
    prices: Prices,
    habits: Habits,
    *,
    wanted: tuple[Gpu, int] | None = None,
    measured: Sequence[Measured] = (),
    most_hourly: float | None = None,
    habits_for: HabitsFor | None = None,
) -> Plan:
    """Weighs every machine. wanted: the one to report in full, whether or not it is the best.

    most_hourly: USD per hour that a whole machine may cost. habits_for: by machine, instead of `habits`.
    Raises WrongInput for a training that cannot be, and when there is no machine to weigh.
    """
    check(workload)
    given = [*([wanted] if wanted else []), *machines]
    every = list({(gpu.key, gpus): (gpu, gpus) for gpu, gpus in given}.values())
    if not every:
        raise WrongInput("no machine to plan for", "--gpu TYPE, or --gpu all")
    weighed = []
    for gpu, gpus in every:
        try:
            own = habits_for(gpu.key, gpus) if habits_for else habits
            one = weigh(workload, goal, gpu, gpus, prices(gpu.key, gpus), own, measured, most_hourly)
        except StokerError as error:
            if (gpu, gpus) == wanted or len(every) == 1:
                raise
            one = Choice(gpu, gpus, "impossible", f"{error.what}: {error.next_step}", price=prices(gpu.key, gpus))
        weighed.append(one)
    ranked = sorted(weighed, key=_rank)
    place = ranked.index(weighed[0]) if wanted else 0
    chosen = ranked[place] = _with_changes(ranked[place])
    counts = count(workload.shape)
    return Plan(
        workload=workload,
        goal=goal,
        counts=counts,
        flops=flops_per_token(workload.shape, workload.length),
        chosen=chosen,
        choices=tuple(ranked),
        advice=tuple(_advice(counts, chosen, ranked, goal)),
        warnings=tuple(_warnings(chosen)),
    )


def weigh(
    workload: Workload,
    goal: Goal,
    gpu: Gpu,
    gpus: int,
    price: Figure | None,
    habits: Habits,
    measured: Sequence[Measured] = (),
    most_hourly: float | None = None,
) -> Choice:
    """What the training comes to on one machine.

    Raises WrongInput for a batch it cannot share, a precision it lacks, and an amount that buys nothing there.
    """
    settled = settle(workload, gpu, gpus, measured)
    if settled.speed is None:
        return Choice(gpu, gpus, settled.verdict, settled.why, settled, price)
    bill = finish(settled.setup, settled.speed, goal, price, habits)
    verdict, why = settled.verdict, settled.why
    if most_hourly is not None and price is not None and price.value * gpus > most_hourly:
        verdict, why = "dear", f"{price.value * gpus:.2f} USD per hour, above the {most_hourly:.2f} allowed"
    return Choice(gpu, gpus, verdict, why, settled, price, bill)


def _with_changes(choice: Choice) -> Choice:
    """With what would make it fit: looked for once, for the machine that is reported in full."""
    if choice.settled is None or choice.settled.verdict == "fits":
        return choice
    return replace(choice, changes=tuple(changes(choice.settled.setup)))


def _rank(choice: Choice) -> tuple[int, int, float, float]:
    """What fits first; of that what has a price, by dollars per token; the rest by GPU-hours per token."""
    order = ORDER.get(choice.verdict, len(ORDER))
    if choice.bill is None:
        over = choice.settled.memory.total / choice.settled.memory.capacity if choice.settled else float("inf")
        return order, 2, over, choice.gpus
    bill, tokens = choice.bill, choice.bill.tokens.value
    if choice.dollars is None:
        return order, 1, bill.hours.value * choice.gpus / tokens, bill.hours.value / tokens
    return order, 0, choice.dollars.value / tokens, bill.hours.value / tokens


def _advice(counts: Counts, chosen: Choice, ranked: Sequence[Choice], goal: Goal) -> list[str]:
    lines = []
    if chosen.bill is not None:
        lines += on_data(counts, chosen.bill.tokens.value, goal.dataset_tokens)
    fits = [one for one in ranked if one.verdict == "fits" and one.bill]
    if (
        goal.kind not in ("hours", "dollars") and fits
    ):  # hours and budgets are spent everywhere: what they buy is in the ranking
        lines += _cheapest(chosen, ranked[0])
        fastest = min(fits, key=lambda one: one.bill.hours.value if one.bill else 0.0)
        if fastest is not ranked[0] and fastest is not chosen and fastest.bill:
            lines.append(f"fastest: {fastest.gpus} x {fastest.gpu.name}, {_hours(fastest.bill)}")
    return lines


def _cheapest(chosen: Choice, best: Choice) -> list[str]:
    if best is chosen or not (best.bill and best.dollars):
        return []
    saved = f" instead of {chosen.dollars.value:,.0f}" if chosen.dollars else ""
    return [
        f"cheapest to finish: {best.gpus} x {best.gpu.name}, {best.dollars.value:,.0f} USD{saved} in "
        f"{_hours(best.bill)}"
    ]


def _warnings(chosen: Choice) -> list[str]:
    lines = [] if chosen.verdict == "fits" else [chosen.why]
    if chosen.verdict == "tight":
        lines.append("a nearly full card is slower: the allocator gives memory back and asks again, in every step")
    if chosen.settled and chosen.settled.speed:
        lines += chosen.settled.speed.warnings
    if chosen.bill:
        lines += chosen.bill.warnings
    return lines


def _hours(bill: Bill) -> str:
    hours = bill.hours.value
    return f"{hours:.1f} h" if hours < 100 else f"{hours:,.0f} h"
