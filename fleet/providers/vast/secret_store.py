"""The account's secrets (providers.md 2.10): each is in every container of the account, under its own name.

So the name carries the value's hash: it is made once and never overwritten, and two runs with different tokens cannot
meet. The container is told which names are its own (STOKER_SECRETS). They are not taken out with a run: another one may
have the same token, on a machine that starts again tomorrow. `terminate` says that they are there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from fleet.providers.masked import told
from fleet.providers.stored_secrets import stored_name
from fleet.providers.vast.answers import agreed
from fleet.wire import fields
from fleet.wire.failed import ProviderFailed
from fleet.wire.line import Line

PATH = "/api/v0/secrets/"
VALUE = re.compile(r"[A-Za-z0-9_.\-]+")  # no other value is taken
NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)


def fit(secrets: Mapping[str, str]) -> dict[str, str]:
    """Secret -> its name there, for those that the store takes; the others go in the create request itself."""
    return {
        name: stored_name(name.upper(), value)  # names are upper-cased by Vast (2.10)
        for name, value in secrets.items()
        if VALUE.fullmatch(value) and NAME.fullmatch(name)
    }


def ensure(line: Line, secrets: Mapping[str, str]) -> dict[str, str]:
    """Puts them there, and tells which are there now; a full store keeps some out. Raises ProviderFailed.

    Repeating is safe: the same name has the same value.
    """
    wanted = fit(secrets)
    if not wanted:
        return {}
    answer = agreed(line.get(PATH), "the list of secrets")
    there = set(fields.inner(answer, "secrets"))
    kept = {}
    for name, stored in wanted.items():
        if stored in there or added(line, stored, secrets[name]):
            kept[name] = stored
    return kept


def added(line: Line, stored: str, value: str) -> bool:
    """Whether it is there now; False when the store is full."""
    try:
        agreed(line.change("POST", PATH, {"key": stored, "value": value}), "a secret")
    except ProviderFailed as failed:
        if failed.code == "existing_key":
            return True
        if failed.code == "max_secrets":
            return False
        raise without(failed, value) from None
    return True


def without(failed: ProviderFailed, value: str) -> ProviderFailed:
    """The failure, without its words when they hold the value."""
    if told(failed.what, [value]) == failed.what and told(failed.next_step, [value]) == failed.next_step:
        return failed
    return type(failed)(failed.provider, "a secret was refused", told(failed.next_step, [value]), failed.status)
