"""What the providers list: once where nothing is to be decided, else in several clean lists, since one may lag."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from fleet.clock import Clock
from fleet.launch.look import again, sight
from fleet.launch.patience import Patience, unsaid
from fleet.launch.question import question
from fleet.launch.stopwatch import Stopwatch
from fleet.ledger.ledger import Ledger
from fleet.providers.provider import Provider
from fleet.providers.values import Instance
from fleet.wire.failed import KeyRefused
from profiles.errors import OutsideFailed, WrongInput

MORE = 3  # times as many lists as are needed, at most
FEW = 3  # times that a provider is asked which fails, and where nothing of ours is known to be


@dataclass(slots=True)
class Observed:
    """What was seen. there: what any clean list of a provider held, by id; silent: why nothing is concluded about a
    provider; open: what its last clean list leaves to be decided, "" when ledger and list agree."""

    needed: int
    there: dict[str, dict[str, Instance]] = field(default_factory=dict)
    silent: dict[str, str] = field(default_factory=dict)
    open: dict[str, str] = field(default_factory=dict)
    steps: dict[str, str] = field(default_factory=dict)  # what helps with a provider that does not answer
    refused: set[str] = field(default_factory=set)  # not asked again: it would change nothing
    _clean: dict[str, int] = field(default_factory=dict)
    _absent: dict[tuple[str, str], int] = field(default_factory=dict)  # clean lists in a row without it

    def is_gone(self, provider: str, id: str) -> bool:
        """Enough of the last clean lists in a row were without it."""
        return provider in self.there and self._absent.get((provider, id), 0) >= self.needed

    def is_there(self, provider: str, id: str) -> bool:
        """The last clean list had it, or it cannot be told yet that it is gone."""
        return id in self.there.get(provider, {}) and not self.is_gone(provider, id)

    def add(self, provider: str, listed: tuple[Instance, ...], known: set[str], left: str) -> None:
        """One clean list. known: ids that the ledger took for living when it was asked for; left: see `open`."""
        self._clean[provider] = self._clean.get(provider, 0) + 1
        self.open[provider] = left
        there = self.there.setdefault(provider, {})
        there.update({each.id: each for each in listed})
        now = {each.id for each in listed}
        for id in known | set(there):
            self._absent[provider, id] = 0 if id in now else self._absent.get((provider, id), 0) + 1

    def wants(self, provider: str) -> bool:
        """Whether another list would tell more."""
        if provider in self.refused or self.open.get(provider) == "":
            return False
        torn = any(name == provider and 0 < count < self.needed for (name, _), count in self._absent.items())
        return torn or self._clean.get(provider, 0) < self.needed

    def progress(self, provider: str, trouble: str = "") -> str:
        """How far it is."""
        told = self.open.get(provider) or trouble
        return f"{provider}: {told}; clean list {self._clean.get(provider, 0)} of {self.needed}"

    def close(self, trouble: Mapping[str, str], asked: Mapping[str, Provider]) -> None:
        """About those that gave too few clean lists nothing is concluded."""
        for name in asked:
            if self.open.get(name) != "" and self._clean.get(name, 0) < self.needed:
                self.there.pop(name, None)
                self.silent[name] = trouble.get(name, "it does not answer")


def observe(
    ledger: Ledger,
    providers: Mapping[str, Provider],
    clock: Clock,
    patience: Patience,
    say: Callable[[str], None] = unsaid,
) -> Observed:
    """Lists every provider once; while there is something to decide about its machines (fleet/launch/question.py)
    `patience.reads` times cleanly, and more while something comes and goes. All of it goes into the ledger. say: told
    before each pause."""
    found, trouble, watch = Observed(patience.reads), dict[str, str](), Stopwatch(clock)
    for turn in range(MORE * patience.reads):
        waiting = [name for name in providers if found.wants(name)]
        if not waiting or (turn >= patience.reads and watch.passed() > patience.undecided):
            break
        if turn:
            told = "; ".join(found.progress(name, trouble.get(name, "")) for name in waiting)
            say(f"{again(patience.look_every)}: {told}")
            watch.sleep(patience.look_every)
        for name in waiting:
            known = {each.id for each in ledger.live() if each.provider == name}
            try:
                listed = sight(ledger, providers[name])
                found.add(name, listed, known, question(ledger, name, listed, patience))
            except (OutsideFailed, WrongInput) as failure:
                trouble[name], found.steps[name] = failure.what, failure.next_step
                unasked = turn + 1 >= FEW and not known and not unsettled(ledger, name)
                if unasked or isinstance(failure, (KeyRefused, WrongInput)):
                    found.refused.add(name)
    found.close(trouble, providers)
    return found


def unsettled(ledger: Ledger, provider: str) -> bool:
    """Whether an order there has no answer."""
    return any(attempt.provider == provider for attempt in ledger.unsettled())
