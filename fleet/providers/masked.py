"""Secrets in what is shown, replaced by their values: wherever a user has put one, it is not printed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from fleet.providers.values import Container

MASK = "***"
PIECE = 8  # letters of a secret that tell it from other words: a provider's words are cut short, and a secret with them


def masked(value: Any, hidden: Iterable[str]) -> Any:
    """`value` with every one of `hidden` in its texts replaced, the longest first: one may hold another."""
    known = sorted(filter(None, hidden), key=len, reverse=True)

    def inner(one: Any) -> Any:
        if isinstance(one, str):
            for secret in known:
                one = one.replace(secret, MASK)
            return one
        if isinstance(one, Mapping):
            return {inner(str(name)): inner(each) for name, each in one.items()}
        if isinstance(one, (list, tuple)):
            return [inner(each) for each in one]
        return one

    return inner(value)


def hidden(container: Container) -> list[str]:
    """What of a container may never be told: its secrets, and the password of its registry."""
    return [*container.secrets.values(), *([container.login.password] if container.login else [])]


def told(words: str, hidden: Iterable[str]) -> str:
    """A provider's words without `hidden`, also where they were put on one line, or cut in the middle of a secret."""
    known = list(hidden)
    text = str(masked(words, known))
    for piece in {part[:PIECE] for secret in known for part in secret.split() if len(part) >= PIECE}:
        text = re.sub(re.escape(piece) + r"\S*", MASK, text)
    return text
