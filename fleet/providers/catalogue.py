"""The providers there are, by name. Adding one is adding its folder and its line here."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path

from fleet.clock import Clock, WallClock
from fleet.providers.provider import Provider
from fleet.wire.keys import keys
from profiles.errors import WrongInput
from profiles.nearest import nearest

# Where each one's class stands; imported only when it is asked for, so that listing the tasks stays instant.
CLASSES = {
    "runpod": "fleet.providers.runpod.client:RunPod",
    "vast": "fleet.providers.vast.client:Vast",
    "hyperbolic": "fleet.providers.hyperbolic.client:Hyperbolic",
    "local": "fleet.providers.local.client:Local",
}
NAMES = tuple(CLASSES)


def open_provider(
    name: str, state: Path, environ: Mapping[str, str] | None = None, clock: Clock | None = None
) -> Provider:
    """The client of a provider with the user's key. state: the `.stoker` folder, for what it keeps (host keys).

    Raises WrongInput for an unknown name. A missing key raises KeyRefused at the first request that needs one.
    """
    if name not in CLASSES:
        near = nearest(name, CLASSES)
        raise WrongInput(f"unknown provider `{name}`", f"did you mean `{near}`?" if near else ", ".join(CLASSES))
    found = os.environ if environ is None else environ
    key = keys(found, Path.home()).get(name)
    module, _, made = CLASSES[name].partition(":")
    opened: Provider = getattr(import_module(module), made)(
        key.value if key else "", state, clock or WallClock(), found
    )
    return opened
