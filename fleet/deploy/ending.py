"""Ending machines: by run, or all of them; what counts is that nothing bills any more, and that it was seen."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fleet.clock import Clock
from fleet.deploy import everywhere
from fleet.ledger.values import ENDED, OPEN, Known
from fleet.providers.provider import Provider
from fleet.providers.values import Instance
from profiles.errors import OutsideFailed, Refused, StokerError, WrongInput

if TYPE_CHECKING:
    from fleet.ledger.ledger import Ledger

WHY = "terminated by the user"
# Seconds in which a process that launches a run sees that it was ended: it looks every few seconds (Patience.poll), and
# has its turn again a minute into the longest step on a machine (fleet/providers/hosts/jobs.py).
LETS_GO = 150.0
NOBODYS_LOCK = "-"  # as in fleet/launch/reconcile.py: no name of a run


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


def terminate(
    ledger: Ledger, runs: Sequence[str], providers: Mapping[str, Provider], clock: Clock, lets_go: float = LETS_GO
) -> list[Outcome]:
    """Closes these runs and ends every machine of them; each in its turn, so that one that fails costs no other.

    It works while another process launches a run: that one orders nothing more for a run that is not open, ends what it
    has just made, and is waited for, `lets_go` seconds at most. Raises WrongInput for an unknown run. A second time is
    no failure.
    """
    for run in runs:
        ledger.run(run)
    return [row for run in runs for row in ended(ledger, run, providers, clock, lets_go)]


def listed(ledger: Ledger, providers: Mapping[str, Provider]) -> dict[str, str]:
    """Writes down what every provider lists now, so that machines of ours that the ledger had forgotten are in it.
    Returns why nothing is known of the others, by name; never raises for one."""
    from fleet.launch.look import sight

    heard: everywhere.Heard[str, tuple[Instance, ...]] = everywhere.ask(providers, lambda one: sight(ledger, one))
    return heard.failures


def strays(ledger: Ledger, providers: Mapping[str, Provider], clock: Clock, lets_go: float = LETS_GO) -> list[Outcome]:
    """Ends every machine with this ledger's tag of which no run is known: a damaged ledger leaves such ones."""
    if not without_run(ledger):
        return []
    try:
        with held(ledger, NOBODYS_LOCK, lets_go):
            return [end_one(ledger, one, providers, clock) for one in without_run(ledger)]
    except Refused as other:
        words = f"{other.what}; the same command again"
        return [Outcome("", words, False, one.provider, one.id) for one in without_run(ledger)]


def without_run(ledger: Ledger) -> list[Known]:
    """Live machines of ours, of no run that is known."""
    return [one for one in ledger.live() if not one.run]


def silent(failures: Mapping[str, str], rows: Sequence[Outcome]) -> list[Outcome]:
    """Providers whose machines are not known, but for those of which a row tells it already."""
    told = {row.provider for row in rows if not row.done}
    words = "whether machines of ours live there is not known: {}"
    return [Outcome("", words.format(why), False, name) for name, why in failures.items() if name not in told]


def ended(
    ledger: Ledger, run: str, providers: Mapping[str, Provider], clock: Clock, lets_go: float = LETS_GO
) -> list[Outcome]:
    """One run. First it is not open any more, then what lives is ended, then what may have been made is found out."""
    before = ledger.run(run)
    if before.state == OPEN:
        ledger.set_state(run, ENDED, WHY)
    rows = {(one.provider, one.id): end_one(ledger, one, providers, clock) for one in ledger.live(run)}
    try:
        with held(ledger, run, lets_go):
            rest = left(ledger, run, providers, clock, rows)
            if all(row.done for row in (*rows.values(), *rest)) and (wish := ledger.open_wish(run)) is not None:
                ledger.close(wish, WHY, met=False)  # nobody shall take it up
    except Refused as launching:
        rest = [Outcome(run, f"{launching.what}: it orders nothing more; ./inv terminate {run} again", False)]
    found = [*rows.values(), *rest]
    if not found:
        words = "" if before.words == before.state else before.words
        told = ", ".join(filter(None, (f"nothing to end: it is {before.state}", words)))
        found = [Outcome(run, "it had no machine" if before.state == OPEN else told)]
    return found


def left(
    ledger: Ledger,
    run: str,
    providers: Mapping[str, Provider],
    clock: Clock,
    rows: dict[tuple[str, str], Outcome],
) -> list[Outcome]:
    """What came up meanwhile, when nobody launches it any more: machines into `rows`, orders that nobody knows of."""
    from fleet.launch.patience import USUAL
    from fleet.launch.settle import settle_one

    for attempt in ledger.unsettled(run):  # an order whose answer was lost may have become a machine
        settle_one(ledger, providers, attempt, clock, USUAL)
    for one in ledger.live(run):
        rows[one.provider, one.id] = end_one(ledger, one, providers, clock)
    words = "whether {} became a machine is not known yet; ./inv reconcile looks again"
    return [Outcome(run, words.format(one.tag), False, one.provider) for one in ledger.unsettled(run)]


def kept_secrets(ledger: Ledger, runs: Sequence[str], providers: Mapping[str, Provider]) -> list[str]:
    """What of these runs' tokens stays at a provider that keeps secrets, a line each; none where it kept none."""
    where: dict[tuple[str, str], None] = {}
    for run in runs:
        names = ledger.run(run).plan.get("container", {}).get("secrets", ())
        where |= {(one.provider, name): None for one in ledger.attempts(run) if one.sent for name in names}
    return [
        f"{name} {words}"
        for provider, name in where
        if (one := providers.get(provider)) is not None and (words := one.lacks.get("forget", ""))
        if "secrets" not in one.lacks
    ]


@contextmanager
def held(ledger: Ledger, run: str, seconds: float) -> Iterator[None]:
    """Holds the run's lock, waiting for a live process to let it go: seconds of the wall's clock, since it is one of
    this machine's. Raises Refused after that."""
    with ExitStack() as stack:
        end = time.monotonic() + seconds
        while True:
            try:
                stack.enter_context(ledger.hold(run))
                break
            except Refused:
                if time.monotonic() >= end:
                    raise
            time.sleep(0.1)
        yield


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
    cost = ledger.cost(one.run) if one.run else ledger.instance_cost(one.provider, one.id)
    words = (
        f"gone; the run cost {cost:.2f} USD in all" if one.run else f"gone; it cost {cost:.2f} USD since it was seen"
    )
    return Outcome(one.run, words, True, one.provider, one.id)


def refuse_left(rows: Sequence[Outcome]) -> None:
    """Raises OutsideFailed when something may still bill."""
    left = [row for row in rows if not row.done]
    if left:
        first = left[0]
        where = " ".join(filter(None, (first.provider, first.id)))
        raise OutsideFailed(
            f"{len(left)} of {len(rows)} may still bill: {f'{where}: ' if where else ''}{first.words}",
            "run the same command again; if it stays, end it in the provider's console",
        )
