"""What will stop a run that nobody watches: as the user says, else what the plan says at most and a fifth."""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal

from fleet.deploy.candidates import Priced
from fleet.deploy.wishes import Wishes
from fleet.ledger.values import Limits
from profiles.errors import Refused, WrongInput

SPARE = 1.2  # over the plan's high end, where nobody sets a limit
CENT = Decimal("0.01")


@dataclass(frozen=True, slots=True)
class Bounded:
    """limits, and for each that the user did not type where it comes from."""

    limits: Limits
    notes: tuple[str, ...] = ()


def bounded(wishes: Wishes, first: Priced, most_usd_hour: Decimal) -> Bounded:
    """Every run has a limit of hours and of dollars. first: the machine that is tried first.

    Raises Refused when nothing would ever stop it: no limit was typed, and no plan tells how long it takes.
    WrongInput for a budget that buys less than a minute.
    """
    notes: list[str] = []
    hours, usd = wishes.hours, wishes.usd
    estimate = first.estimate
    if hours is None and estimate is not None and estimate.hours is not None:
        high = estimate.hours.high or estimate.hours.value
        hours = math.ceil(high * SPARE * 10) / 10
        notes.append(f"{hours:g} h: a fifth over the {high:.1f} h that the plan says at most; --hours")
    if hours is None and (usd is None or not first.usd_hour):
        raise Refused(
            "nothing would stop this machine: no plan says how long it takes, and no limit is set",
            "--hours 10, or --budget 30 (USD)",
        )
    if hours is None and usd is not None and first.usd_hour:
        hours = float(usd / first.usd_hour)
        notes.append(f"{hours:.1f} h: what {usd:.2f} USD pay for; --hours")
    if usd is None and hours is not None and most_usd_hour:  # one's own machine costs nothing
        usd = (most_usd_hour * Decimal(str(hours))).quantize(CENT, ROUND_CEILING)
        notes.append(f"{usd:.2f} USD: {hours:.1f} h at the most that an hour may cost; --budget")
    if usd is not None and usd < first.usd_hour / 60:
        raise WrongInput(
            f"{usd:.2f} USD buy less than a minute of {first.usd_hour:.2f} USD/h", "--budget with more dollars"
        )
    return Bounded(Limits(usd, most_usd_hour, hours, wishes.idle_minutes), tuple(notes))


def doubts(wishes: Wishes, first: Priced, limits: Limits) -> list[str]:
    """What a reader should know: limits that end the run before it is done."""
    estimate = first.estimate
    if estimate is None or estimate.hours is None or estimate.dollars is None:
        return []
    found = []
    if limits.hours is not None and limits.hours < estimate.hours.value:
        found.append(f"--hours {limits.hours:g} ends it before it is done: the plan says {estimate.hours.value:.1f} h")
    if limits.usd is not None and float(limits.usd) < estimate.dollars.value:
        usd = estimate.dollars.value
        found.append(f"{limits.usd:.2f} USD end it before it is done: the plan says {usd:.2f} USD")
    return found
