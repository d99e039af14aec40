"""Which providers are asked, and their clients."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from fleet.clock import Clock
from fleet.providers.catalogue import NAMES, open_provider
from fleet.providers.provider import Provider
from fleet.wire.failed import KEY_NAMES, KeyRefused, key_step
from fleet.wire.keys import keys
from fleet.wire.line import LOOPBACK, base
from profiles.errors import WrongInput
from profiles.nearest import nearest

LOCAL = "local"
EVERY = ("any", "all")


def named(texts: Iterable[str]) -> tuple[str, ...]:
    """--provider as names; `any`, `all` and nothing: (). Raises WrongInput for an unknown one."""
    words = [part.strip().lower() for text in texts for part in text.split(",") if part.strip()]
    for word in words:
        if word not in (*NAMES, *EVERY):
            near = nearest(word, [*NAMES, *EVERY])
            raise WrongInput(f"unknown provider `{word}`", f"did you mean `{near}`?" if near else ", ".join(NAMES))
    return () if any(word in EVERY for word in words) else tuple(dict.fromkeys(words))


def chosen(names: tuple[str, ...], environ: Mapping[str, str], home: Path) -> tuple[str, ...]:
    """Those that are asked: `names`, else all there is a key for.

    Raises KeyRefused for a named one without a key, WrongInput when there is no key at all: with where to get one.
    """
    held = keys(environ, home)
    for name in names:
        if name in KEY_NAMES and name not in held:
            raise KeyRefused(name, "no key", key_step(name))
    if names or held:
        return names or tuple(held)
    steps = "; ".join(f"{name}: {key_step(name)}" for name in KEY_NAMES)
    raise WrongInput("there is no key of any provider", f"{steps}; or --provider local")


def opened(names: Iterable[str], state: Path, environ: Mapping[str, str], clock: Clock) -> dict[str, Provider]:
    """Their clients, by name. Raises WrongInput."""
    return {name: open_provider(name, state, environ, clock) for name in names}


def rented(names: Iterable[str], environ: Mapping[str, str]) -> list[str]:
    """Those whose machines are elsewhere: neither this machine, nor a simulator on it."""
    from urllib.parse import urlsplit

    return [name for name in names if name != LOCAL and urlsplit(base(name, environ)).hostname not in LOOPBACK]
