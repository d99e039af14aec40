"""How a launch can end without a machine, each with what to do next."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from profiles.errors import OutsideFailed


@dataclass(frozen=True, slots=True)
class Tried:
    """One row of what was tried. what: the offer; outcome: a word ("capacity", "never-ready", "skipped"); words: why;
    seconds, usd: what it took, the tag "" when nothing was sent."""

    provider: str
    what: str
    outcome: str
    words: str
    tag: str = ""
    seconds: float = 0.0
    usd: Decimal = Decimal(0)


class NoMachine(OutsideFailed):
    """Nothing that was tried became a machine, and nothing of it is left. tried: every offer, in order."""

    def __init__(self, tried: Sequence[Tried], next_step: str = "") -> None:
        self.tried = tuple(tried)
        counted = Counter(row.outcome for row in tried)
        said = ", ".join(f"{count} {outcome}" for outcome, count in counted.most_common()) or "there was no offer"
        spent = sum((row.usd for row in tried), Decimal(0))
        cost = f", {spent:.2f} USD spent on it" if spent else ""
        super().__init__(f"no machine: {len(self.tried)} offers tried ({said}){cost}", next_step or advice(self.tried))

    def table(self) -> list[tuple[str, str, str, str, str]]:
        """Rows of (offer, outcome, why, time, cost), for the terminal."""
        return [
            (row.what, row.outcome, row.words, f"{row.seconds / 60:.0f} min", f"{row.usd:.2f} USD")
            for row in self.tried
        ]


def advice(tried: Sequence[Tried]) -> str:
    """What is most likely to help."""
    outcomes = {row.outcome for row in tried}
    stopping = next((row for row in tried if row.outcome in ("credit", "key", "invalid", "budget")), None)
    if stopping is not None:
        return stopping.words
    if outcomes == {"capacity"} and len(tried) > 2 and {row.provider for row in tried} == {"runpod"}:
        # A request that can never be met has the same answer there (providers.md 1.3).
        return (
            "all are gone or the request asks for what no machine has; see `./inv deploy --dry-run`, or ask again later"
        )
    if outcomes <= {"skipped"}:
        return "raise --max-price, or allow other GPUs or regions"
    return "ask again later, or allow other GPUs, regions or providers"


class Unfit(OutsideFailed):
    """This machine will never do (a broken driver, a refused shell): it is ended and left out."""


class Unsettled(OutsideFailed):
    """Nobody knows whether a machine was made, so nothing more is made. `./inv reconcile` finds out."""


class StillThere(OutsideFailed):
    """A machine that could not be proven gone: it may still bill."""

    def __init__(self, provider: str, id: str, what: str) -> None:
        super().__init__(
            f"{provider} {id} MAY STILL BE BILLED: {what}",
            f"end it in {provider}'s console, or `./inv reconcile` until it is gone",
        )
        self.provider, self.id = provider, id
