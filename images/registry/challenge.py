"""`WWW-Authenticate`: what a registry wants to see (RFC 9110, 11.6.1; distribution docs spec/auth/token.md)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

TOKEN = r"[A-Za-z0-9!#$%&'*+.^_`|~-]+"
START = re.compile(rf"\s*,*\s*({TOKEN})(?:\s+(?!=)|\s*,|$)")
PARAM = re.compile(rf'\s*,*\s*({TOKEN})\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))\s*')
TOKEN68 = re.compile(r"\s*[A-Za-z0-9._~+/-]+=*\s*(?:,|$)")


@dataclass(frozen=True, slots=True)
class Challenge:
    """One scheme with its parameters."""

    scheme: str  # lower case: 'bearer', 'basic'
    params: Mapping[str, str]


def parse(values: Iterable[str]) -> list[Challenge]:
    """All challenges of all WWW-Authenticate headers, in order. What cannot be read is left out."""
    found = []
    for text in values:
        at = 0
        while start := START.match(text, at):
            at, params = start.end(), {}
            while param := PARAM.match(text, at):
                raw = param[2] if param[2] is not None else param[3]
                params[param[1].lower()] = re.sub(r"\\(.)", r"\1", raw)
                at = param.end()
            if not params and (skipped := TOKEN68.match(text, at)):
                at = skipped.end()
            found.append(Challenge(start[1].lower(), params))
    return found


def usable(values: Iterable[str]) -> Challenge | None:
    """The first Bearer or Basic challenge; others (Negotiate) may stand beside it (ggcr transport/ping.go)."""
    for challenge in parse(values):
        if challenge.scheme == "basic" or (challenge.scheme == "bearer" and challenge.params.get("realm")):
            return challenge
    return None


def scopes_of(challenge: Challenge) -> tuple[str, ...]:
    """The scopes that a Bearer challenge names."""
    return tuple(challenge.params.get("scope", "").split())


def covers(granted: Iterable[str], wanted: Iterable[str]) -> bool:
    """Whether every action of `wanted` is among those of `granted`: `repository:a:pull,push` covers `...:pull`."""
    have: dict[str, set[str]] = {}
    for scope in granted:
        name, _, actions = scope.rpartition(":")
        have.setdefault(name, set()).update(actions.split(","))
    for scope in wanted:
        name, _, actions = scope.rpartition(":")
        if not set(actions.split(",")) <= have.get(name, set()):
            return False
    return True
