"""Secrets in what is shown, replaced by their values: wherever a user has put one, it is not printed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

MASK = "***"


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
