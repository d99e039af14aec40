"""RunPod's store of secrets: variables go out as references, their values stay out of pods' bodies and lists.

Newer than the published API (providers.md 1.2), so it may be missing: then the values go into the environment of the
create itself, which the account's own key can read back, and `lacks` says so.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from fleet.providers.runpod.bodies import secret_body
from fleet.providers.runpod.once import one
from fleet.providers.runpod.pages import rows
from fleet.providers.stored_secrets import stored_name
from fleet.wire.failed import ProviderFailed
from fleet.wire.line import Line

PATH = "/v2/secrets"
MISSING = frozenset({403, 404, 405, 410, 501})  # no such path, or not for this key
LONGEST = 191  # characters of a name (1.2)
IN_THE_OPEN = (
    "RunPod's secret store does not answer to this key: tokens go into the pod's own variables, "
    "which everybody with a key of this account can read"
)


def reference(variable: str, value: str) -> str:
    """What stands in a pod's environment instead of the value."""
    return f"{{{{ RUNPOD_SECRET_{stored_name(variable, value)} }}}}"


def fits(variable: str) -> bool:
    """Whether a secret can be named after this variable."""
    return re.fullmatch(r"[A-Za-z0-9_]+", variable) is not None and len(variable) <= LONGEST - len("STOKER_12345678_")


def references(
    line: Line, secrets: Mapping[str, str], sleep: Callable[[float], None], kept: set[str]
) -> tuple[dict[str, str], bool]:
    """The variables as they go out, and whether the store holds all of them. kept: names known to be there; grows.

    Raises ProviderFailed for a store that is there and does not answer: a token is not put into the open because of a
    bad minute.
    """
    out: dict[str, str] = {}
    for variable, value in secrets.items():
        name = stored_name(variable, value)
        if not fits(variable):
            return dict(secrets), False
        if name not in kept and not ensured(line, name, variable, value, sleep):
            return dict(secrets), False
        kept.add(name)
        out[variable] = reference(variable, value)
    return out, True


def ensured(line: Line, name: str, variable: str, value: str, sleep: Callable[[float], None]) -> bool:
    """Whether the store has the secret now; False: there is no store for us."""

    def look() -> list[dict[str, Any]]:
        return [row for row in rows(line.get(PATH, {"name": name}), "secrets") if row.get("name") == name]

    try:
        one(line, PATH, secret_body(name, value, variable), look, sleep, value, deletes=False)
    except ProviderFailed as failure:
        if failure.status in MISSING:
            return False
        raise
    return True
