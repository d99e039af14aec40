"""Several calls at once: as slow as the slowest, bounded, and one that fails costs its own answer alone."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from profiles.errors import StokerError

Result = TypeVar("Result")
Key = TypeVar("Key")
DEADLINE = 25.0  # seconds for all of them together


@dataclass(frozen=True, slots=True)
class Heard(Generic[Key, Result]):
    """results: of those that answered; failures: what went wrong with the next step, on one line, of the others."""

    results: dict[Key, Result] = field(default_factory=dict)
    failures: dict[Key, str] = field(default_factory=dict)


def each(calls: Mapping[Key, Callable[[], Result]], deadline: float = DEADLINE) -> Heard[Key, Result]:
    """Every call in a thread of its own; what it raises becomes its line. deadline: seconds of the wall's clock in all.

    Never raises for one of them.
    """
    done: dict[Key, Result | Failed] = {}
    lock = threading.Lock()

    def one(name: Key, call: Callable[[], Result]) -> None:
        answer = outcome(name, call)
        with lock:
            done[name] = answer

    # Daemons: a name server that does not answer must not keep the program from ending.
    threads = [threading.Thread(target=one, args=item, daemon=True) for item in calls.items()]
    end = time.monotonic() + deadline
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    with lock:
        answers = dict(done)
    late = f"no answer within {deadline:.0f} s; check the network, then ask again"
    results, failures = {}, {}
    for name in calls:
        answer = answers.get(name, Failed(f"{name}: {late}"))
        if isinstance(answer, Failed):
            failures[name] = answer.words
        else:
            results[name] = answer
    return Heard(results, failures)


@dataclass(frozen=True, slots=True)
class Failed:
    """words: one line, without a secret."""

    words: str


def outcome(name: object, call: Callable[[], Result]) -> Result | Failed:
    """What the call gives, or its failure in a line; the text of an unforeseen one may hold a secret and stays out."""
    try:
        return call()
    except StokerError as failed:
        return Failed("; ".join(filter(None, (failed.what, failed.next_step))))
    except Exception as unforeseen:  # a mistake of ours must not cost the others' answers
        return Failed(f"{name}: its answer was not understood ({type(unforeseen).__name__}); please report it")
