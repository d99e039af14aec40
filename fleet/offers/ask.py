"""All providers at once: what answers in time counts, what does not is told."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from fleet.offers import hyperbolic, runpod, vast
from fleet.offers.offer import Found, Offer, Question, Skipped, told
from fleet.wire.failed import KeyRefused, key_step
from fleet.wire.keys import Key
from fleet.wire.line import Line
from profiles.errors import StokerError, WrongInput
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
    results: dict[str, Found | str] = {}
    lock, seen = threading.Lock(), now.isoformat(timespec="seconds")

    def one(provider: str) -> None:
        result = asked(provider, keys.get(provider), question, seen, deadline)
        with lock:
            results[provider] = result

    # Daemons: a name server that does not answer must not keep the program from ending.
    threads = [threading.Thread(target=one, args=(name,), daemon=True, name=f"offers of {name}") for name in providers]
    end = time.monotonic() + deadline
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    with lock:
        done = dict(results)
    found = {name: result for name in providers if isinstance(result := done.get(name), Found)}
    late = f"no answer within {deadline:.0f} s; check the network, then ask again"
    failures = {
        name: result if isinstance(result, str) else f"{name}: {late}"
        for name in providers
        if not isinstance(result := done.get(name), Found)
    }
    return Answer(
        tuple(offer for each in found.values() for offer in each.offers),
        failures,
        tuple(row for each in found.values() for row in each.skipped),
        dict.fromkeys(found, now),
    )


def asked(provider: str, key: Key | None, question: Question, seen: str, deadline: float) -> Found | str:
    """One provider's offers, or its failure on one line."""
    try:
        if key is None and provider not in WITHOUT_KEY:
            raise KeyRefused(provider, "no key", key_step(provider))
        with Line(provider, key.value if key else "", deadline) as line:
            return PROVIDERS[provider](line, question, seen)
    except StokerError as failed:
        return "; ".join(filter(None, (failed.what, failed.next_step)))
    except Exception as unforeseen:  # a mistake of ours must not cost the others' prices; its text may hold a secret
        return f"{provider}: its answer was not understood ({type(unforeseen).__name__}); please report it"
