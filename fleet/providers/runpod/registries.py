"""Logins of image registries that RunPod keeps: made once for each login, never returned, never updated (1.12)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fleet.offers.runpod import PROVIDER
from fleet.providers.runpod.bodies import registry_body
from fleet.providers.runpod.once import one
from fleet.providers.runpod.pages import listed, row_id
from fleet.providers.values import Credential, Login
from fleet.wire import fields
from fleet.wire.line import Line

PATH = "/v2/registries"


def kept(line: Line) -> list[Credential]:
    """All of the account's."""
    return [credential(row) for row in listed(line, PATH, "registries")]


def ensure(line: Line, login: Login, sleep: Callable[[float], None]) -> Credential:
    """The kept login of this user and password: found by its name, else created once. Raises ProviderFailed."""
    body = registry_body(login, line.key)
    name = body["name"]

    def look() -> list[dict[str, Any]]:
        return [row for row in listed(line, PATH, "registries") if row.get("name") == name]

    return credential(one(line, PATH, body, look, sleep, login.password))


def credential(row: dict[str, Any]) -> Credential:
    return Credential(PROVIDER, row_id(row, "registries"), fields.text(row, "name"))
