"""What is to be reached, and how the run is looked after: a Goal and the Habits."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from cli.amounts import number, whole
from cli.plan_asked import Asked
from cli.plan_flags import Flags
from profiles.errors import WrongInput

if TYPE_CHECKING:
    from fleet.capacity.finish.goal import Goal
    from fleet.capacity.finish.habits import Habits
    from fleet.capacity.workload import Workload
    from fleet.offers.offer import Offer

PER_PARAMETER = 20  # tokens: best for a given compute (Hoffmann et al. 2022, arXiv 2203.15556)
MOST_MBIT = 10e6
FLAGS = {"tokens": "tokens", "steps": "steps", "epochs": "epochs", "hours": "hours", "dollars": "budget"}


def goal_of(found: Asked, flags: Flags, workload: Workload) -> Goal:
    """The one that was asked for; else the steps of preset or profile; else 20 tokens per parameter.

    Raises WrongInput for two that contradict each other and for numbers that make no sense.
    """
    from fleet.capacity.count import count
    from fleet.capacity.finish.goal import MOST, Goal

    given: dict[str, Any] = {}
    for name, flag in FLAGS.items():
        if text := getattr(flags, flag):
            given[name] = read(name, text, f"--{flag}", MOST[name])
    dataset = number(flags.dataset_tokens, "--dataset-tokens", 0, MOST["tokens"]) if flags.dataset_tokens else 0
    if not given and "train.steps" in found.said:
        given["steps"] = float(found.config.train.steps)
        found.notes.append(f"{found.config.train.steps:,} steps, as {found.said['train.steps']} says: --steps")
    elif not given:
        given["tokens"] = float(PER_PARAMETER * count(workload.shape).total)
        found.notes.append(f"{PER_PARAMETER} tokens per parameter: --tokens, --steps, --epochs, --hours or --budget")
    return Goal(**given, dataset_tokens=dataset)


def read(name: str, text: str, flag: str, most: float) -> float:
    """Steps and tokens are whole numbers."""
    if name in ("steps", "tokens"):
        return float(whole(text, flag, 1, int(most)))
    return number(text, flag, 0, most)


def habits_of(found: Asked, flags: Flags, whole_config: bool) -> Habits:
    """What the configuration says of evaluations and checkpoints, if it is one (whole_config); else the usual."""
    from fleet.capacity.finish.habits import Habits

    config = found.config
    values: dict[str, Any] = {"kind": "spot" if flags.spot else "on-demand", "keep": config.checkpoint.keep}
    if "checkpoint.every" in found.said:
        values["save_steps"] = config.checkpoint.every
    if whole_config or "evaluate.every" in found.said:
        tokens = config.evaluate.tokens or Habits().evaluate_tokens  # 0 is all of a split nobody has told of
        values |= {"evaluate_every": config.evaluate.every, "evaluate_tokens": tokens}
    if flags.link_mbit:
        rate = number(flags.link_mbit, "--link-mbit", 0, MOST_MBIT)
        values |= {"down_mbit": rate, "up_mbit": rate}
    return Habits(**values)


def on_machine(habits: Habits, offer: Offer | None) -> Habits:
    """With the storage, traffic and disk of the offer that the price is of; not known without one."""
    if offer is None:
        return habits
    return replace(
        habits,
        storage_price=offer.disk_price,
        up_price=offer.up_price,
        down_price=offer.down_price,
        disk_gb=offer.disk_gb,
    )


def bought_of(found: Asked, goal: Goal, tokens: float, step_tokens: int) -> list[str]:
    """Whether hours or a budget suffice for the steps that preset or profile says."""
    if goal.kind not in ("hours", "dollars") or "train.steps" not in found.said:
        return []
    wanted = found.config.train.steps * step_tokens
    share = f"{tokens / wanted:.0%}" if tokens < wanted else "all"
    return [f"{goal.flag} buys {share} of the {found.config.train.steps:,} steps that {found.said['train.steps']} says"]


def most_hourly(flags: Flags) -> float | None:
    """USD per hour of a whole machine. Raises WrongInput."""
    if not flags.max_price:
        return None
    if not (flags.price or not flags.offline):
        raise WrongInput("--max-price compares prices, and --offline knows none", "give --price as well")
    return number(flags.max_price, "--max-price", 0, 1e6)
