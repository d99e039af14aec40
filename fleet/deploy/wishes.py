"""What the user asks of a machine, as typed: money, place, time. Nothing here is guessed."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from decimal import Decimal

from profiles.errors import WrongInput

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Wishes:
    """providers: names, empty: all there is a key for; usd_hour: most for the whole machine with its disk; usd: most
    for the whole run; hours: most that machines of it are rented; idle_minutes: GPUs idle for so long end it; regions:
    as providers spell them, or their beginning; min_reliability: 0..1, where it is told."""

    providers: tuple[str, ...] = ()
    usd_hour: Decimal | None = None
    usd: Decimal | None = None
    hours: float | None = None
    idle_minutes: float = 30.0
    spot: bool = False
    any_gpu: bool = False
    regions: tuple[str, ...] = ()
    min_reliability: float = 0.9
    remote: str = ""
    name: str = ""
    env: dict[str, str] = field(default_factory=dict)


def checked_name(text: str) -> str:
    """A run's name, which becomes a folder's and a part of tags. Raises WrongInput with the nearest that would do."""
    if NAME.fullmatch(text):
        return text
    near = re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("._-")[:63]
    raise WrongInput(
        f"{text[:80]!r} is no name for a run",
        f"did you mean --name {near}?" if near else "letters, digits, . _ and -, 63 at most",
    )
