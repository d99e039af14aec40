"""Templates, one for each content, named by it: `stoker-PROFILE-HASH`.

A changed plan has another content, so another name: an existing template is never turned into another plan's, because
somebody else's deploy may be between finding it and using it. Only what was edited by hand is set right again, under
its name. Pods are not touched by either: a template is a snapshot taken at create (providers.md 1.6).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

from fleet.offers.runpod import PROVIDER
from fleet.providers.runpod.bodies import content
from fleet.providers.runpod.once import one
from fleet.providers.runpod.pages import listed, row_id
from fleet.providers.values import Template
from fleet.wire import fields
from fleet.wire.failed import ProviderFailed
from fleet.wire.line import Line

PATH = "/v2/templates"


def ensure(line: Line, body: dict[str, Any], sleep: Callable[[float], None]) -> Template:
    """The template with this body: found, set right, or created. Raises ProviderFailed."""
    row = one(line, PATH, body, lambda: named(line, body["name"]), sleep)
    id = row_id(row, "templates")
    if not same(row, body):
        changed = line.change("PATCH", f"{PATH}/{quote(id, safe='')}", body)
        if not (isinstance(changed, Mapping) and same(changed, body)):
            raise ProviderFailed(
                PROVIDER, f"its template {body['name']} was edited and cannot be set right", "delete it in the console"
            )
    return Template(PROVIDER, id, body["name"], id, content(body))


def named(line: Line, name: str) -> list[dict[str, Any]]:
    """Our templates of this name; no list has a filter by name (providers.md 1.4)."""
    return [row for row in listed(line, PATH, "templates") if row.get("name") == name]


def same(row: Mapping[str, Any], body: Mapping[str, Any]) -> bool:
    """Whether the template holds what the body says. "" and null, [] and absent are the same; a field that is not told
    counts as right, except for the image: an answer without one is not our template."""
    if fields.text(row, "image") != fields.printable(body["image"]):
        return False
    return all(plain(row[name]) == plain(value) for name, value in body.items() if name in row)


def plain(value: Any) -> Any:
    """A value for comparing."""
    if isinstance(value, Mapping):
        return {name: plain(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [plain(inner) for inner in value] or None
    return value if value not in ("", {}) else None
