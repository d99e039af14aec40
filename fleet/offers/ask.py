"""All providers at once: what answers in time counts, what does not is told."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from fleet.offers import hyperbolic, runpod, vast
from fleet.offers.offer import Found, Offer, Question, Skipped, told
from fleet.wire.failed import KeyRefused, key_step
from fleet.wire.keys import Key
from fleet.wire.line import Line
from fleet.wire.together import each
from profiles.errors import WrongInput
from profiles.nearest import nearest

PROVIDERS: dict[str, Callable[[Line, Question, str], Found]] = {
    runpod.PROVIDER: runpod.offers,
    vast.PROVIDER: vast.offers,
    hyperbolic.PROVIDER: hyperbolic.offers,
}
WITHOUT_KEY = frozenset({hyperbolic.PROVIDER})
DEADLINE = 20.0  # seconds for all of them together


@dataclass(frozen=True, slots=True)
class Answer:
    """What the providers said. failures: provider -> what went wrong and the next step, on one line; seen: provider ->
    time of its list, for each that has offers here; notes: lines that tell where prices are old."""

    offers: tuple[Offer, ...] = ()
    failures: Mapping[str, str] | None = None
    skipped: tuple[Skipped, ...] = ()
    seen: Mapping[str, datetime] | None = None
    notes: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """What a reader should know besides the offers."""
        failed = (self.failures or {}).values()
        return [*failed, *self.notes, *told(self.skipped)]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "offers": [offer.to_json() for offer in self.offers],
            "failures": dict(self.failures or {}),
            "skipped": told(self.skipped, most=1000),
            "seen": {name: seen.isoformat(timespec="seconds") for name, seen in (self.seen or {}).items()},
            "notes": list(self.notes),
        }


def chosen(providers: Sequence[str] | None, keys: Mapping[str, Key]) -> list[str]:
    """The providers to ask: those named, else those there is a key for. Raises WrongInput for an unknown one."""
    for name in providers or ():
        if name not in PROVIDERS:
            near = nearest(name, PROVIDERS)
            raise WrongInput(f"unknown provider `{name}`", f"did you mean `{near}`?" if near else ", ".join(PROVIDERS))
    return list(dict.fromkeys(providers)) if providers is not None else [name for name in PROVIDERS if name in keys]


def ask(
    providers: Sequence[str],
    keys: Mapping[str, Key],
    question: Question,
    now: datetime,
    deadline: float = DEADLINE,
) -> Answer:
    """Asks all of them in parallel, `deadline` seconds in all. now: with a time zone; stands in every offer as `seen`.

    Never raises for a provider: its failure is in the answer, and the others' offers still count.
    """
    seen = now.isoformat(timespec="seconds")
    heard = each({name: partial(asked, name, keys.get(name), question, seen, deadline) for name in providers}, deadline)
    found = heard.results
    return Answer(
        tuple(offer for one in found.values() for offer in one.offers),
        heard.failures,
        tuple(row for one in found.values() for row in one.skipped),
        dict.fromkeys(found, now),
    )


def asked(provider: str, key: Key | None, question: Question, seen: str, deadline: float) -> Found:
    """One provider's offers. Raises what is wrong with its key or its answer."""
    if key is None and provider not in WITHOUT_KEY:
        raise KeyRefused(provider, "no key", key_step(provider))
    with Line(provider, key.value if key else "", deadline) as line:
        return PROVIDERS[provider](line, question, seen)
