"""The whole of finishing: steps, tokens, hours, dollars, checkpoints, disk, transfers, each with range and source."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from fleet.capacity.figure import Figure
from fleet.capacity.finish import hours, money, reached
from fleet.capacity.finish.budget import Verdict
from fleet.capacity.finish.cadence import Cadence, cadence
from fleet.capacity.finish.checkpoint import checkpoint_bytes, checkpoint_source, weights_bytes
from fleet.capacity.finish.disk import Disk, dataset_bytes
from fleet.capacity.finish.estimate import Case, Cases, cases, stall_seconds
from fleet.capacity.finish.goal import Goal
from fleet.capacity.finish.habits import Habits
from fleet.capacity.finish.hours import Work
from fleet.capacity.finish.interruptions import mtbf
from fleet.capacity.finish.room import room
from fleet.capacity.finish.transfers import transfers
from fleet.capacity.setup import Setup
from fleet.capacity.speed.speed import Speed

LOW_GOODPUT = 0.8
HABITS = Habits()
UNPRICED = Figure(0.0, "USD per GPU-hour", "no price is known")


@dataclass(frozen=True, slots=True)
class Bill:
    """parts: hours by name, adding up to `hours`; money: dollars by name, adding up to `dollars`.

    transfers: seconds by what is moved. epochs: passes over the dataset, None when its size is not known. verdict: of
    the hours or dollars that are the goal, or of a budget that was given beside a goal; None without either.
    """

    goal: str
    steps: int
    step_tokens: int
    step_seconds: float
    tokens: Figure
    hours: Figure
    parts: dict[str, Figure]
    goodput: Figure
    dollars: Figure | None
    money: dict[str, Figure]
    price: Figure | None
    per_billion: Figure | None
    steps_per_hour: Figure
    epochs: Figure | None
    checkpoint: Figure
    export: Figure
    cadence: Cadence
    mtbf: Figure
    stall: Figure
    disk: Disk
    dataset: Figure
    transfers: dict[str, Figure]
    verdict: Verdict | None
    warnings: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """As plain values, every figure with its unit, range and source."""
        plain = {name: _plain(getattr(self, name)) for name in self.__slots__}
        return {**plain, "disk": {**asdict(self.disk), "total": self.disk.total}, "warnings": list(self.warnings)}


def finish(
    setup: Setup,
    speed: Speed,
    goal: Goal,
    price: Figure | None,
    habits: Habits = HABITS,
    budget: float | None = None,
) -> Bill:
    """Everything about finishing. price: USD per GPU-hour, None: not known, and nothing is said of dollars.

    budget: dollars beside a goal of tokens, steps or epochs; the verdict says whether they suffice. Raises WrongInput
    for an amount that buys nothing, naming the smallest useful one, and for numbers that make no sense; CheckFailed
    where interruptions come faster than a restart.
    """
    reached.check(goal, price, budget)
    may = cases(setup, speed, price or UNPRICED, habits)
    work = _work(setup, goal, habits, may.expected)
    return _bill(setup, work, may, goal, price, reached.reach(setup, work, may, goal, budget))


def _work(setup: Setup, goal: Goal, habits: Habits, case: Case) -> Work:
    step = setup.step_tokens / case.rate
    chosen = cadence(step, case.stall, case.mtbf, case.write, case.upload, habits.save_steps)
    return Work(setup.step_tokens, setup.shape.vocab, goal.dataset_tokens, habits, chosen)


def _bill(setup: Setup, work: Work, may: Cases, goal: Goal, price: Figure | None, got: reached.Reached) -> Bill:
    parts, taken, goodput = hours.figures(work, may, got.steps)
    kinds, spent = money.figures(setup, work, may, got.steps, price or UNPRICED)
    if goal.kind in ("hours", "dollars"):
        spent, taken = reached.held(goal, spent, taken, price or UNPRICED)
    each = spent.times(1e9 / (got.steps * work.step_tokens), "USD per 1e9 tokens", "dollars / tokens")
    data = work.data_bytes(got.steps)
    held = goal.dataset_tokens or got.steps * work.step_tokens
    disk = room(setup.shape, setup.optimizer, work.habits, held, got.steps, taken.value * 3600)
    epochs = _epochs(got.tokens, goal.dataset_tokens)
    return Bill(
        goal=f"{goal.kind} {goal.amount:,.10g}",
        steps=got.steps,
        step_tokens=work.step_tokens,
        step_seconds=work.step_tokens / may.expected.rate,
        tokens=got.tokens,
        hours=taken,
        parts=parts,
        goodput=goodput,
        dollars=spent if price else None,
        money=kinds if price else {},
        price=price,
        per_billion=each if price else None,
        steps_per_hour=_pace(may, work.step_tokens),
        epochs=epochs,
        checkpoint=_checkpoint(setup),
        export=Figure(weights_bytes(setup.shape), "bytes", "2 bytes per parameter, bf16"),
        cadence=work.cadence,
        mtbf=mtbf(work.habits, setup.gpus, setup.nodes),
        stall=_stall(setup),
        disk=disk,
        dataset=Figure(data, "bytes", f"{dataset_bytes(1, work.vocab):g} bytes a token: vocabulary {work.vocab:,}"),
        transfers=transfers(setup, work.habits, data),
        verdict=got.verdict,
        warnings=tuple(_warnings(work, may.expected, goodput, disk)),
    )


def _epochs(tokens: Figure, dataset: float) -> Figure | None:
    return tokens.times(1 / dataset, "epochs", f"tokens / {dataset:,.0f} of the dataset") if dataset else None


def _pace(may: Cases, step_tokens: int) -> Figure:
    slow, expected, fast = (case.rate * 3600 / step_tokens for case in may.all())
    return Figure(expected, "steps/h", "tokens/s x 3600 / tokens of a step", slow, fast)


def _checkpoint(setup: Setup) -> Figure:
    return Figure(checkpoint_bytes(setup.shape, setup.optimizer), "bytes", checkpoint_source(setup.optimizer))


def _stall(setup: Setup) -> Figure:
    size = _checkpoint(setup).value
    slow, expected, fast = (stall_seconds(setup, size, number) for number in range(3))
    source = f"{size / setup.gpus / 1e9:.2f} GB of each GPU over PCIe {setup.gpu.pcie}; at best hidden behind a step"
    return Figure(expected, "s", source, fast, slow)


def _warnings(work: Work, case: Case, goodput: Figure, disk: Disk) -> list[str]:
    told = []
    if goodput.value < LOW_GOODPUT:
        told.append(f"only {goodput.value:.0%} of the paid time trains")
    if work.habits.data == "stream" and case.rate * dataset_bytes(1, work.vocab) > work.habits.down_mbit / 8 * 1e6:
        told.append(f"{work.habits.down_mbit:,.0f} Mbit/s are too slow to stream the data: download it first")
    there = work.habits.disk_gb
    if there is not None and disk.total > there * 1e9:
        told.append(f"the disk is to hold {disk.total / 1e9:,.0f} GB, and the machine of this price has {there:,.0f}")
    return told


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    if isinstance(value, Verdict):
        return value.to_json()
    if isinstance(value, Figure | Cadence):
        return asdict(value)
    return value
