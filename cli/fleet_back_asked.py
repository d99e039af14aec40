"""What `resume` was asked for anew: limits, policy, more steps. Kept with the user's yes, and not before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from cli.amounts import number, whole
from cli.fleet_asked import MOST_HOURS, dollars
from cli.fleet_back_flags import Back
from profiles.errors import WrongInput

if TYPE_CHECKING:
    from fleet.ledger.values import Limits, Run
    from fleet.resume.policy import Policy

MOST_STEPS = 10**9


def where(back: Back) -> str:
    """The policy that was typed, "" for none. Raises WrongInput for two."""
    typed = [
        name
        for name, given in (("same", back.same), ("any", back.any), ("spot-then-on-demand", back.spot_then_on_demand))
        if given
    ]
    if len(typed) > 1:
        raise WrongInput(f"--{typed[0]} and --{typed[1]} contradict each other", "give one of them")
    return typed[0] if typed else ""


def policy_of(run: Run, typed: str = "", usd_hour: str = "") -> Policy:
    """As typed, else as the run was deployed."""
    from fleet.resume.policy import Policy, Where

    kept = run.policy if run.policy in tuple(Where) else Where.ANY
    return Policy(Where(typed or kept), dollars(usd_hour, "--max-price"))


def asked_of(back: Back, run: Run) -> Run:
    """The run as it is asked for now: limits, policy, more steps. Kept with the user's yes, and not before. Raises
    WrongInput."""
    return replace(
        run, limits=limits_of(back, run.limits), policy=where(back) or run.policy, plan=longer(back, run.plan)
    )


def longer(back: Back, plan: Mapping[str, Any]) -> Mapping[str, Any]:
    """The run's plan with the steps and the trainer's keys that were typed; of a run without one they are for the new
    one (`rebuilt`). The trainer refuses another number of steps where the rate falls over them, unless that is allowed.
    """
    from fleet.deploy.container import RUN

    box = plan.get("container")
    if not box or not (back.steps or back.set):
        return plan
    words = [str(word) for word in box["command"]] or [RUN]
    if back.steps:
        steps = whole(back.steps, "--steps", 1, MOST_STEPS)
        for place in reversed([place for place, word in enumerate(words) if word == "--steps"]):
            del words[place : place + 2]
        words += ["--steps", str(steps)]
    words += [word for text in back.set for word in ("--set", text)]
    allowed = {after for flag, after in pairwise(words) if flag == "--allow-change"}
    words += [] if "train" in allowed else ["--allow-change", "train"]
    return {**plan, "container": {**box, "command": words}}


def limits_of(back: Back, before: Limits) -> Limits:
    """The run's limits with what was typed. Raises WrongInput."""
    usd, usd_hour = dollars(back.budget, "--budget"), dollars(back.max_price, "--max-price")
    return replace(
        before,
        usd=before.usd if usd is None else usd,
        usd_hour=before.usd_hour if usd_hour is None else usd_hour,
        hours=number(back.hours, "--hours", 0, MOST_HOURS) if back.hours else before.hours,
    )
