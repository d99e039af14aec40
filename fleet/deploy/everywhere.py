"""All providers at once: as slow as the slowest, and one that is down costs its own answer alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from fleet.providers.provider import Provider
from fleet.wire.together import DEADLINE, Heard, Result, each

__all__ = ["DEADLINE", "Heard", "ask", "each"]


def ask(
    providers: Mapping[str, Provider], call: Callable[[Provider], Result], deadline: float = DEADLINE
) -> Heard[str, Result]:
    """`call` with each provider, in parallel; `deadline`: seconds of the wall's clock in all. Never raises for one."""
    return each({name: partial(call, one) for name, one in providers.items()}, deadline)
