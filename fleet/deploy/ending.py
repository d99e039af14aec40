"""Ending machines: by run, or all of them; what counts is that nothing bills any more, and that it was seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from fleet.clock import Clock
from fleet.ledger.values import ENDED, OPEN, Known
from fleet.providers.provider import Provider
from profiles.errors import OutsideFailed, StokerError, WrongInput

if TYPE_CHECKING:
    from fleet.ledger.ledger import Ledger

WHY = "terminated by the user"


@dataclass(frozen=True, slots=True)
class Outcome:
    """One machine, or a run that had none. done: proven gone, or nothing was there."""

    run: str
    words: str
    done: bool = True
    provider: str = ""
    id: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {"run": self.run, "provider": self.provider, "id": self.id, "done": self.done, "words": self.words}


def machines(ledger: Ledger, run: str = "") -> list[Known]:
    """Machines that may bill, of a run or of all. Raises WrongInput for an unknown run, naming the nearest."""
    if run:
        ledger.run(run)
    return ledger.live(run)


def the_machine(ledger: Ledger, run: str) -> Known:
    """The one machine of a run. Raises WrongInput when it has none."""
    live = machines(ledger, run)
    if live:
        return live[-1]
    state = ledger.run(run).state
    step = f"./inv resume {run}" if state == OPEN else f"./inv status; the run is {state}"
    raise WrongInput(f"`{run}` has no machine now", step)


def providers_of(ledger: Ledger, run: str = "") -> set[str]:
    """Where machines of ours are, or may be."""
    return {one.provider for one in ledger.live(run)} | {one.provider for one in ledger.unsettled(run)}


def terminate(ledger: Ledger, runs: Sequence[str], providers: Mapping[str, Provider], clock: Clock) -> list[Outcome]:
    """Ends every machine of these runs and closes them; each in its turn, so that one that fails costs no other.

    Holds each run's lock, so that nothing is launched for it meanwhile. Raises Refused when another process launches
    it, WrongInput for an unknown run. A second time is no failure.
    """
    found = []
    for run in runs:
        ledger.run(run)
        with ledger.hold(run):
            found += ended(ledger, run, providers, clock)
    return found


def ended(ledger: Ledger, run: str, providers: Mapping[str, Provider], clock: Clock) -> list[Outcome]:
    """The machines of one run."""
    from fleet.launch.settle import settle

    rows = []
    if ledger.unsettled(run):
        settle(ledger, providers, clock)  # an order whose answer was lost may have become a machine
    for one in ledger.live(run):
        rows.append(end_one(ledger, one, providers, clock))
    unsure = ledger.unsettled(run)
    for attempt in unsure:
        words = f"whether {attempt.tag} became a machine is not known yet; ./inv reconcile looks again"
        rows.append(Outcome(run, words, False, attempt.provider))
    if any(not row.done for row in rows):
        return rows
    before = ledger.run(run)
    if before.state == OPEN:
        close_wish(ledger, run)
        ledger.set_state(run, ENDED, WHY)
    if not rows:
        told = "it had no machine" if before.state == OPEN else f"nothing to end: it is {before.state} {before.words}"
        rows.append(Outcome(run, told.rstrip()))
    return rows


def close_wish(ledger: Ledger, run: str) -> None:
    """A wish that a dead process left open is not to be taken up by a later one."""
    if ledger.open_wish(run) is not None:
        ledger.close(ledger.wish(run, WHY), WHY, False)


def end_one(ledger: Ledger, one: Known, providers: Mapping[str, Provider], clock: Clock) -> Outcome:
    """One machine, until it is proven gone. A failure is its row: the other machines are ended all the same."""
    from fleet.launch.end import end

    if one.provider not in providers:
        return Outcome(one.run, f"no key for {one.provider} here", False, one.provider, one.id)
    try:
        end(ledger, providers[one.provider], one.id, WHY, clock)
    except StokerError as failed:
        words = "; ".join(filter(None, (failed.what, failed.next_step)))
        return Outcome(one.run, words, False, one.provider, one.id)
    cost = ledger.cost(one.run) if one.run else Decimal(0)
    return Outcome(one.run, f"gone; the run cost {cost:.2f} USD in all", True, one.provider, one.id)


def refuse_left(rows: Sequence[Outcome]) -> None:
    """Raises OutsideFailed when something may still bill."""
    left = [row for row in rows if not row.done]
    if left:
        first = left[0]
        raise OutsideFailed(
            f"{len(left)} of {len(rows)} may still bill: {first.provider} {first.id}: {first.words}",
            "run the same command again; if it stays, end it in the provider's console",
        )
