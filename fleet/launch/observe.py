"""What the providers list, in several clean lists, so that one that lags or lacks a row is not believed alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from fleet.clock import Clock
from fleet.launch.look import sight
from fleet.launch.patience import Patience
from fleet.launch.stopwatch import Stopwatch
from fleet.ledger.ledger import Ledger
from fleet.providers.provider import Provider
from fleet.providers.values import Instance
from profiles.errors import OutsideFailed, WrongInput

MORE = 3  # times as many lists as are needed, at most


@dataclass(slots=True)
class Observed:
    """What was seen. there: what any clean list of a provider held, by id; silent: why nothing is concluded about a
    provider."""

    needed: int
    there: dict[str, dict[str, Instance]] = field(default_factory=dict)
    silent: dict[str, str] = field(default_factory=dict)
    _clean: dict[str, int] = field(default_factory=dict)
    _absent: dict[tuple[str, str], int] = field(default_factory=dict)  # clean lists in a row without it

    def is_gone(self, provider: str, id: str) -> bool:
        """Enough of the last clean lists in a row were without it."""
        return provider in self.there and self._absent.get((provider, id), 0) >= self.needed

    def is_there(self, provider: str, id: str) -> bool:
        """The last clean list had it, or it cannot be told yet that it is gone."""
        return id in self.there.get(provider, {}) and not self.is_gone(provider, id)

    def add(self, provider: str, listed: tuple[Instance, ...], known: set[str]) -> None:
        """One clean list. known: ids that the ledger took for living when it was asked for."""
        self._clean[provider] = self._clean.get(provider, 0) + 1
        there = self.there.setdefault(provider, {})
        there.update({each.id: each for each in listed})
        now = {each.id for each in listed}
        for id in known | set(there):
            self._absent[provider, id] = 0 if id in now else self._absent.get((provider, id), 0) + 1

    def wants(self, provider: str) -> bool:
        """Whether another list would tell more."""
        torn = any(name == provider and 0 < count < self.needed for (name, _), count in self._absent.items())
        return torn or self._clean.get(provider, 0) < self.needed

    def close(self, trouble: Mapping[str, str], asked: Mapping[str, Provider]) -> None:
        """About those that gave too few clean lists nothing is concluded."""
        for name in asked:
            if self._clean.get(name, 0) < self.needed:
                self.there.pop(name, None)
                self.silent[name] = trouble.get(name, "it does not answer")


def observe(ledger: Ledger, providers: Mapping[str, Provider], clock: Clock, patience: Patience) -> Observed:
    """Lists every provider `patience.reads` times cleanly, and more while something comes and goes; all of it goes into
    the ledger."""
    found, trouble, watch = Observed(patience.reads), dict[str, str](), Stopwatch(clock)
    for turn in range(MORE * patience.reads):
        waiting = [name for name in providers if found.wants(name)]
        if not waiting or (turn >= patience.reads and watch.passed() > patience.undecided):
            break
        if turn:
            watch.sleep(patience.look_every)
        for name in waiting:
            known = {each.id for each in ledger.live() if each.provider == name}
            try:
                found.add(name, sight(ledger, providers[name]), known)
            except (OutsideFailed, WrongInput) as failure:
                trouble[name] = failure.what
    found.close(trouble, providers)
    return found
