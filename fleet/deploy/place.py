"""Where a container is told to be: whose machine it runs on, and in a rehearsal which address and which time are its
provider's. The keeper in the image ends its machine by this alone (templates/run/end-instance.py)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from urllib.parse import urlsplit

from fleet.clock import VARIABLE as CLOCK
from fleet.loopback import LOOPBACK
from fleet.wire.line import BASES, base

PROVIDER, ADDRESS = "STOKER_PROVIDER", "STOKER_PROVIDER_URL"


def placed(env: Mapping[str, str], provider: str, environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """`env` for a machine of `provider`, without what it said of an earlier one.

    environ: ours. Its addresses reach the container only when they are a simulator's on this machine: an address that a
    real machine shall ask is the provider's own. Raises WrongInput for an address that is none.
    """
    environ = os.environ if environ is None else environ
    told = {name: value for name, value in env.items() if name not in (PROVIDER, ADDRESS, CLOCK)}
    told[PROVIDER] = provider
    if provider in BASES and urlsplit(url := base(provider, environ)).hostname in LOOPBACK:
        told[ADDRESS] = url
    if urlsplit(clock := environ.get(CLOCK, "").strip()).hostname in LOOPBACK:
        told[CLOCK] = clock
    return told
