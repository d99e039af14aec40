"""Where a lost run may go on: the same kind of machine, any that fits, or a cheap one until that failed too often."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from enum import StrEnum

from fleet.offers.offer import ON_DEMAND, Offer

FIRST_PAUSE = timedelta(seconds=15)
LONGEST_PAUSE = timedelta(minutes=15)
SPOT_LOSSES = 3  # losses of interruptible machines before on-demand ones are rented


class Where(StrEnum):
    """The policies of `./inv resume`."""

    SAME = "same"  # the provider and GPU of the last machine
    ANY = "any"  # every provider there is a key for
    SPOT_THEN_ON_DEMAND = "spot-then-on-demand"


@dataclass(frozen=True, slots=True)
class Loss:
    """One machine that was lost. kind: of its offer; steps: new steps that were saved on it."""

    provider: str
    gpu: str
    count: int
    kind: str
    steps: int


@dataclass(frozen=True, slots=True)
class Policy:
    """where: which offers; usd_hour: most for one machine; losses: how many in a row, without progress, are enough."""

    where: Where = Where.ANY
    usd_hour: Decimal | None = None
    losses: int = 5


def fruitless(losses: Sequence[Loss]) -> int:
    """How many of the last losses in a row saved no new step."""
    count = 0
    for loss in reversed(losses):
        if loss.steps > 0:
            break
        count += 1
    return count


def gives_up(policy: Policy, losses: Sequence[Loss]) -> str:
    """Why not to try again, "" when it may."""
    vain = fruitless(losses)
    return f"{vain} machines in a row were lost before a new checkpoint was saved" if vain >= policy.losses else ""


def pause(losses: Sequence[Loss]) -> timedelta:
    """How long to wait before the next machine: nothing after progress, else doubling."""
    vain = fruitless(losses)
    return min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(vain - 1, 16)) if vain else timedelta()


def takes_spot(policy: Policy, losses: Sequence[Loss]) -> bool:
    """Whether interruptible machines are still tried."""
    if policy.where is not Where.SPOT_THEN_ON_DEMAND:
        return bool(losses) and losses[-1].kind != ON_DEMAND
    return sum(loss.kind != ON_DEMAND for loss in losses) < SPOT_LOSSES


def allowed(policy: Policy, losses: Sequence[Loss], offers: Iterable[Offer]) -> list[Offer]:
    """The offers that the policy takes, in their order."""
    last = losses[-1] if losses else None
    spot = takes_spot(policy, losses)
    kept = []
    for offer in offers:
        if policy.usd_hour is not None and Decimal(str(offer.per_hour())) > policy.usd_hour:
            continue
        if offer.kind != ON_DEMAND and not spot:
            continue
        if policy.where is Where.SAME and last is not None and (offer.provider, offer.gpu) != (last.provider, last.gpu):
            continue
        kept.append(offer)
    return kept
