"""What a body may look like: small checks that are put together, answering in the words of RunPod's validator.

Known of those words: "$.action: value must be one of 'start', ..." and "$: additional properties 'bogus' not allowed"
(providers.md 1.3); the others are invented after them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Check = Callable[[Any, str], list[str]]  # value, where → what is wrong with it


def text(least: int = 0, pattern: str = "") -> Check:
    def check(value: Any, where: str) -> list[str]:
        if not isinstance(value, str):
            return [f"{where}: expected string"]
        if len(value) < least:
            return [f"{where}: length must be >= {least}"]
        if pattern and not re.search(pattern, value):
            return [f"{where}: does not match pattern '{pattern}'"]
        return []

    return check


def whole(least: int, most: int | None = None) -> Check:
    def check(value: Any, where: str) -> list[str]:
        number = not isinstance(value, bool) and (
            isinstance(value, int) or (isinstance(value, float) and value.is_integer())
        )
        if not number:
            return [f"{where}: expected integer"]
        if value < least:
            return [f"{where}: must be >= {least}"]
        return [f"{where}: must be <= {most}"] if most is not None and value > most else []

    return check


def flag(value: Any, where: str) -> list[str]:
    return [] if isinstance(value, bool) else [f"{where}: expected boolean"]


def one_of(*words: str) -> Check:
    def check(value: Any, where: str) -> list[str]:
        return [] if value in words else [f"{where}: value must be one of {', '.join(repr(word) for word in words)}"]

    return check


def nullable(inner: Check) -> Check:
    return lambda value, where: [] if value is None else inner(value, where)


def list_of(inner: Check, most: int | None = None) -> Check:
    def check(value: Any, where: str) -> list[str]:
        if not isinstance(value, list):
            return [f"{where}: expected array"]
        wrong = [words for at, one in enumerate(value) for words in inner(one, f"{where}[{at}]")]
        if most is not None and len(value) > most:
            wrong.append(f"{where}: maximum {most} items required, but found {len(value)} items")
        return wrong

    return check


def table_of(inner: Check) -> Check:
    def check(value: Any, where: str) -> list[str]:
        if not isinstance(value, dict):
            return [f"{where}: expected object"]
        return [words for name, one in value.items() for words in inner(one, f"{where}.{name}")]

    return check


def record(fields: Mapping[str, Check], required: Sequence[str] = (), least: int = 0) -> Check:
    """An object with these fields and no others."""

    def check(value: Any, where: str) -> list[str]:
        if not isinstance(value, dict):
            return [f"{where}: expected object"]
        wrong = [f"{where}: missing property '{name}'" for name in required if name not in value]
        wrong += [f"{where}: additional properties '{name}' not allowed" for name in value if name not in fields]
        if len(value) < least:
            wrong.append(f"{where}: minimum {least} properties allowed, but found {len(value)} properties")
        for name, one in value.items():
            if name in fields:
                wrong += fields[name](one, f"{where}.{name}")
        return wrong

    return check
