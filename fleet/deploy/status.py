"""Every run and every machine at once: state, price, spent, left, step; a provider that is down costs its own rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any

from fleet.clock import Clock
from fleet.deploy import everywhere, last_words, waiting
from fleet.deploy.last_words import Fate
from fleet.deploy.storage import Storage, storage
from fleet.ledger.tags import read as read_tag
from fleet.ledger.values import OPEN, Known, Run
from fleet.life import signs
from fleet.life.signs import Signs
from fleet.providers.provider import Provider
from fleet.providers.values import Instance
from profiles.errors import OutsideFailed

if TYPE_CHECKING:
    from fleet.ledger.ledger import Ledger

YOUNG = 10.0  # seconds for which a list answers everybody who asks: Vast's docs ask for no more (providers.md 0.4)
LINES = 60  # of output: many steps, and a save among them
LISTS, OUTPUTS = 20.0, 10.0  # seconds for all lists, and for all outputs


@dataclass(frozen=True, slots=True)
class Row:
    """One machine of a run, or a run without one. state: the machine's, "no answer" when its provider gave none; of
    one that is not listed what its run said last, else the run's. left: USD of the budget, None without one; since: how
    long it is rented; next_step: a command that helps, "" when none is needed."""

    run: str
    state: str
    provider: str = ""
    id: str = ""
    gpu: str = ""
    usd_hour: Decimal | None = None
    assumed: bool = False
    spent: Decimal = Decimal(0)
    left: Decimal | None = None
    since: timedelta | None = None
    signs: Signs = field(default_factory=Signs)
    words: str = ""
    next_step: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain values; money as text of a decimal number."""
        return {
            "run": self.run,
            "state": self.state,
            "provider": self.provider or None,
            "id": self.id or None,
            "gpu": self.gpu or None,
            "usd_hour": money(self.usd_hour),
            "price_assumed": self.assumed,
            "spent_usd": money(self.spent),
            "left_usd": money(self.left),
            "hours": None if self.since is None else round(self.since.total_seconds() / 3600, 3),
            "step": self.signs.step,
            "loss": self.signs.loss,
            "saved_step": self.signs.saved,
            "tokens_per_s": self.signs.tokens_per_second,
            "stopped": self.signs.stop or None,
            "words": self.words,
            "next": self.next_step or None,
        }


@dataclass(frozen=True, slots=True)
class Status:
    """rows: machines, newest run first; foreign: machines at the accounts that are not of this ledger; failures: of
    providers; spending: USD per hour of all machines of ours; storage: what bills beside machines, None: not asked;
    asked: the providers, those in `failures` too."""

    at: datetime
    rows: tuple[Row, ...]
    foreign: tuple[Instance, ...] = ()
    failures: Mapping[str, str] = field(default_factory=dict)
    storage: Storage | None = None
    asked: tuple[str, ...] = ()

    @property
    def spending(self) -> Decimal:
        """USD per hour, all machines together; what is not told counts as the ledger assumes."""
        return sum((row.usd_hour for row in self.rows if row.usd_hour is not None and row.id), Decimal(0))

    @property
    def nothing(self) -> str:
        """What to say when there is no row: of those that did not answer nobody knows it."""
        if not self.failures:
            return "no run is open, and nothing is rented"
        answered = [name for name in self.asked if name not in self.failures]
        where = f"nothing is rented at {listing(answered)}; " if answered else ""
        return f"no run is open; {where}{listing(list(self.failures))} did not answer"

    def refuse_unknown(self) -> None:
        """Raises OutsideFailed when a provider did not answer: what is rented there is not known."""
        if self.failures:
            _, _, step = next(iter(self.failures.values())).partition("; ")
            what = f"{listing(list(self.failures))} did not answer: what is rented there now is not known"
            raise OutsideFailed(what, step or "./inv status again")

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "at": self.at.isoformat(timespec="seconds"),
            "usd_hour": money(self.spending),
            "runs": [row.to_json() for row in self.rows],
            "others": [
                {"provider": one.provider, "id": one.id, "tag": one.tag, "state": str(one.state)}
                for one in self.foreign
            ],
            "failures": dict(self.failures),
            "storage": None if self.storage is None else self.storage.to_json(),
        }


def status(
    ledger: Ledger, providers: Mapping[str, Provider], clock: Clock, *, ended: bool = False, output: bool = True
) -> Status:
    """Asks every provider once, then every machine of ours for its newest lines, in parallel, and what storage bills.
    ended: closed runs too; output: the newest lines and the storage as well.

    Nothing is concluded about machines of a provider that does not answer: they are shown as they were last seen.
    """
    from fleet.launch.look import sight

    heard: everywhere.Heard[str, tuple[Instance, ...]] = everywhere.ask(
        providers, lambda one: sight(ledger, one, YOUNG), LISTS
    )
    live = ledger.live()
    here = [one for one in live if one.provider in heard.results]
    said = outputs(here, providers) if output else {}
    for one in here:
        if one.run and (signs := said.get((one.provider, one.id))) is not None:
            last_words.remember(ledger, one, signs)
            last_words.keep(ledger, one, signs)
    kept = storage(providers, heard.failures, LISTS) if output else None
    mine = {(one.provider, one.id) for one in live}
    foreign = [
        one
        for found in heard.results.values()
        for one in found
        if (one.provider, one.id) not in mine and not ours(one, ledger.id)
    ]
    now, costs, made = clock.now(), ledger.costs(), []
    for run in sorted(ledger.runs(), key=lambda run: (run.made is None, run.made, run.name), reverse=True):
        machines = [one for one in live if one.run == run.name]
        spent, left = costs.get(run.name, Decimal(0)), ledger.left(run.name)
        for one in machines:
            fate = last_words.unlisted(ledger, one, run, now) if one.missed and not one.ending else None
            signs = said.get((one.provider, one.id))
            made.append(row_of(one, run.name, spent, left, now, signs, heard.failures, fate))
        if not machines and (ended or run.state == OPEN):
            made.append(bare(run, spent, left, ledger))
    strays = [one for one in live if not one.run]
    made += [row_of(one, "", Decimal(0), None, now, None, heard.failures) for one in strays]
    return Status(now, tuple(made), tuple(foreign), heard.failures, kept, tuple(providers))


def outputs(live: Sequence[Known], providers: Mapping[str, Provider]) -> dict[tuple[str, str], Signs]:
    """The newest signs of every machine; none where there is no output, or none in time."""
    calls = {(one.provider, one.id): partial(newest, providers[one.provider], one.id) for one in live}
    return everywhere.each(calls, OUTPUTS).results


def newest(provider: Provider, id: str) -> Signs:
    """What the newest lines of a machine tell."""
    return signs.read(waiting.output(provider, id, LINES))


def ours(instance: Instance, ledger_id: str) -> bool:
    """Whether its tag is of this ledger; `reconcile` tells of one that is and is not known."""
    tag = read_tag(instance.tag)
    return tag is not None and tag.ledger == ledger_id


def row_of(
    one: Known,
    run: str,
    spent: Decimal,
    left: Decimal | None,
    now: datetime,
    said: Signs | None,
    failures: Mapping[str, str],
    fate: Fate | None = None,
) -> Row:
    """A machine's row. fate: of one that its provider does not list."""
    silent = one.provider in failures
    fate = fate or Fate("ending" if one.ending else str(one.instance.state), one.instance.words)
    count = f"{one.instance.gpus} x " if one.instance.gpus else ""
    return Row(
        run=run,
        state="no answer" if silent else fate.state,
        provider=one.provider,
        id=one.id,
        gpu=f"{count}{one.instance.gpu}" if one.instance.gpu else "",
        usd_hour=one.usd_hour,
        assumed=one.assumed,
        spent=spent,
        left=left,
        since=now - one.first,
        signs=said or Signs(),
        words=f"last seen {one.seen:%Y-%m-%d %H:%M}: {one.instance.state}" if silent else fate.words,
        next_step="" if silent else fate.next_step,
    )


def bare(run: Run, spent: Decimal, left: Decimal | None, ledger: Ledger) -> Row:
    """A run without a machine."""
    fate = last_words.without_machine(ledger, run) if run.state == OPEN else Fate(run.state, run.words)
    return Row(run=run.name, state=fate.state, spent=spent, left=left, words=fate.words, next_step=fate.next_step)


def listing(names: Sequence[str]) -> str:
    """'runpod, vast and hyperbolic'."""
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def money(value: Decimal | None) -> str | None:
    """USD as text, exactly."""
    return None if value is None else f"{value:f}"
