"""Which providers are asked, their clients, and where the fleet keeps what it knows of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from fleet.clock import Clock
from fleet.loopback import LOOPBACK
from fleet.providers.catalogue import NAMES, open_provider
from fleet.providers.provider import Provider
from fleet.wire.failed import KEY_NAMES, key_step
from fleet.wire.keys import keys
from fleet.wire.line import base
from profiles.errors import Refused, WrongInput
from profiles.nearest import nearest

LOCAL = "local"
EVERY = ("any", "all")
REHEARSAL = "rehearsal"  # below the state folder


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

    Raises WrongInput for a named one without a key, and when there is no key at all: with where to get one.
    """
    held = keys(environ, home)
    for name in names:
        if name in KEY_NAMES and name not in held:
            raise WrongInput(f"{name}: no key", key_step(name))
    if names or held:
        return names or tuple(held)
    steps = "; ".join(f"{name}: {key_step(name)}" for name in KEY_NAMES)
    raise WrongInput("there is no key of any provider", f"{steps}; or --provider local")


def opened(names: Iterable[str], state: Path, environ: Mapping[str, str], clock: Clock) -> dict[str, Provider]:
    """Their clients, by name. state: the `.stoker` folder. Raises WrongInput, Refused for a rehearsal that is none."""
    asked, kept = tuple(names), books(state, environ)
    refuse_mixed(asked, environ)
    # Images and their containers on this machine are the same in a rehearsal.
    return {name: open_provider(name, state if name == LOCAL else kept, environ, clock) for name in asked}


def rented(names: Iterable[str], environ: Mapping[str, str]) -> list[str]:
    """Those whose machines are elsewhere: neither this machine, nor a simulator on it."""
    return [name for name in names if name != LOCAL and not simulated(name, environ)]


def simulated(name: str, environ: Mapping[str, str]) -> bool:
    """Whether a provider's address is on this machine. Raises WrongInput for one that is no address."""
    from urllib.parse import urlsplit

    return urlsplit(base(name, environ)).hostname in LOOPBACK


def rehearsed(environ: Mapping[str, str]) -> list[str]:
    """The providers that are simulators on this machine; any makes all that is done a rehearsal."""
    return [name for name in KEY_NAMES if simulated(name, environ)]


def books(state: Path, environ: Mapping[str, str]) -> Path:
    """Where the fleet keeps its ledger, host keys, orders and prices: `state` (.stoker), in a rehearsal a folder in it.

    By the environment alone, so that every task of a shell agrees. A simulator knows none of the real machines: what
    it does not list would be taken for gone, and billed on with nobody watching.
    """
    return state / REHEARSAL if rehearsed(environ) else state


def refuse_mixed(names: Iterable[str], environ: Mapping[str, str]) -> None:
    """Raises Refused when real providers are asked in a rehearsal."""
    real, here = rented(names, environ), rehearsed(environ)
    if here and real:
        raise Refused(
            f"{', '.join(here)} is simulated on this machine and {', '.join(real)} is not: one ledger cannot hold both",
            f"unset {variables(here)} to end the rehearsal, or set {variables(real)} to a simulator as well",
        )


def variables(names: Iterable[str]) -> str:
    """Where their addresses stand."""
    return ", ".join(f"STOKER_{name.upper()}_URL" for name in names)
