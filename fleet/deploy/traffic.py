"""Dollars for bytes: the image on its way to the machine, checkpoints on their way to the store. Some hosts charge by
the GB (providers.md 0.2, 2.4), and no clock that stops a machine counts them."""

from __future__ import annotations

from dataclasses import replace
from decimal import ROUND_CEILING, Decimal

from fleet.deploy.candidates import Priced
from fleet.deploy.wishes import Wishes
from fleet.ledger.values import Limits
from profiles.errors import WrongInput

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


def what(first: Priced) -> str:
    """'the image 0.03 USD, data and checkpoints 0.41 USD'."""
    rest = first.traffic_usd - first.pull_usd
    pull = f"the image {first.pull_usd:.2f} USD"
    return f"{pull}, data and checkpoints {rest:.2f} USD" if cents(rest) else pull


def cents(usd: Decimal) -> Decimal:
    """Upwards."""
    return usd.quantize(CENT, ROUND_CEILING)
