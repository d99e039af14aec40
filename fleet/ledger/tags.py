"""The mark on everything that we rent: it says whose it is, and which attempt it came from.

`stk-<ledger>-<run>-<random>`: at most 32 letters of [a-z0-9-], fresh for every attempt (providers.md 0.1). It is the
RunPod pod's name, the label at Vast.ai and Hyperbolic, a Docker label, and STOKER_TAG in the container.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass

LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
RUN_LETTERS = 14
FORM = re.compile(r"stk-([a-z0-9]{4})-([a-z0-9](?:[a-z0-9-]{0,12}[a-z0-9])?)-([a-z0-9]{8})")


@dataclass(frozen=True, slots=True)
class Tag:
    """What a tag says. run: the first letters of the run's name only."""

    ledger: str
    run: str
    random: str

    def __str__(self) -> str:
        return f"stk-{self.ledger}-{self.run}-{self.random}"


def fresh(ledger_id: str, run: str) -> str:
    """A new tag for an attempt of `run`. ledger_id: Ledger.id."""
    return str(Tag(ledger_id, short(run), letters(8)))


def read(tag: str) -> Tag | None:
    """What a tag says; None: it is not one of Stoker's."""
    found = FORM.fullmatch(tag.strip().lower())
    return Tag(*found.groups()) if found else None


def short(run: str) -> str:
    """A run's name as far as it goes into a tag."""
    kept = re.sub(r"[^a-z0-9]+", "-", run.lower())[:RUN_LETTERS].strip("-")
    return kept or "run"


def letters(count: int) -> str:
    """That many letters that nobody can guess."""
    return "".join(secrets.choice(LETTERS) for _ in range(count))
