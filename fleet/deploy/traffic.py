"""Dollars for bytes: the image on its way to the machine, checkpoints on their way to the store. Some hosts charge by
the GB (providers.md 0.2, 2.4), and no clock that stops a machine counts them."""

from __future__ import annotations

from dataclasses import replace
from decimal import ROUND_CEILING, Decimal
from typing import TYPE_CHECKING

from fleet.deploy.candidates import Priced
from fleet.deploy.wishes import Wishes
from fleet.ledger.values import Limits, Run
from profiles.errors import Refused, WrongInput

if TYPE_CHECKING:
    from fleet.ledger.ledger import Ledger

CENT = Decimal("0.01")


def set_aside(wishes: Wishes, first: Priced) -> Wishes:
    """The wishes with a budget that may become hours: without the dollars of the first machine's traffic.

    Raises WrongInput where the traffic takes all of it.
    """
    if wishes.usd is None or not first.traffic_usd:
        return wishes
    left = wishes.usd - cents(first.traffic_usd)
    if left <= 0:
        raise WrongInput(
            f"--budget {wishes.usd:.2f}: the traffic alone costs {first.traffic_usd:.2f} USD at {first.offer.provider}",
            "--budget with more dollars, or a provider without traffic fees: --provider runpod",
        )
    return replace(wishes, usd=left)


def whole(limits: Limits, first: Priced) -> Limits:
    """The limits with the traffic in them again, as a plan's dollars are."""
    return limits if limits.usd is None else replace(limits, usd=limits.usd + first.traffic_usd)


def notes(wishes: Wishes, first: Priced) -> list[str]:
    """What the limits do not say by themselves."""
    usd = cents(first.traffic_usd)
    if not usd:
        return []
    if wishes.usd is not None:
        return [f"of --budget {wishes.usd:.2f}, {usd:.2f} USD are set aside for traffic: {what(first)}"]
    return [f"{usd:.2f} USD of traffic come on top of what is counted by the hour: {what(first)}"]


def stored(first: Priced, limits: Limits) -> dict[str, str | None]:
    """As the ledger keeps it beside a run's plan. aside_usd: what `budget_usd`, the run's limit as it was deployed,
    leaves out already (or what was told to come on top of it); rest_usd: the part of it that is no image."""
    return {
        "aside_usd": str(first.traffic_usd),
        "rest_usd": str(first.traffic_usd - first.pull_usd),
        "budget_usd": None if limits.usd is None else str(cents(limits.usd)),
    }


def afterwards(ledger: Ledger, run: Run, one: Priced) -> Run:
    """The run on one more machine, with a budget that leaves out the bytes: every machine pulls the image again, and a
    budget that was typed since the deploy has nothing set aside. Raises Refused where they take all that is left."""
    budget, kept = run.limits.usd, run.plan.get("traffic") or {}
    if budget is None:
        return run
    as_deployed = kept.get("budget_usd") == str(cents(budget))
    aside = Decimal(str(kept.get("aside_usd") or 0)) if as_deployed else Decimal(0)
    owed = pulled(ledger, run) + one.pull_usd + Decimal(str(kept.get("rest_usd") or 0)) - aside
    if owed <= 0:
        return run
    spent = ledger.cost(run.name) + ledger.reserved(run.name)
    if budget - cents(owed) <= spent < budget:
        raise Refused(
            f"the budget of `{run.name}`, {budget:.2f} USD: {spent:.2f} are spent, and {cents(owed):.2f} go to traffic"
            f" with one more machine at {one.offer.provider}",
            f"./inv resume {run.name} --budget USD, more than that",
        )
    return replace(run, limits=replace(run.limits, usd=max(Decimal(0), budget - cents(owed))))


def pulled(ledger: Ledger, run: Run) -> Decimal:
    """USD of the image for all machines that the run has had. A price that was not told counts as 0."""
    size = Decimal(str((run.plan.get("needs") or {}).get("pulled_gb") or 0))
    offers = {one.instance: one.offer for one in ledger.attempts(run.name) if one.instance}
    found = [offers.get(machine.id) for machine in ledger.known(run.name)] if size else []
    return sum((size * Decimal(str(one.down_price or 0)) for one in found if one is not None), Decimal(0))


def what(first: Priced) -> str:
    """'the image 0.03 USD, data and checkpoints 0.41 USD'."""
    rest = first.traffic_usd - first.pull_usd
    pull = f"the image {first.pull_usd:.2f} USD"
    return f"{pull}, data and checkpoints {rest:.2f} USD" if cents(rest) else pull


def cents(usd: Decimal) -> Decimal:
    """Upwards."""
    return usd.quantize(CENT, ROUND_CEILING)
