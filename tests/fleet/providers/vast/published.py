"""Vast's published API as answers are held against it: the corrected file (tests/data/specs), closed.

The file leaves every answer open to fields that it does not name. Here each of those is a slip, unless
vast_corrections.yaml adds it by name with its reason: a simulator of ours invents no field that a client might read.
"""

from __future__ import annotations

import copy
import json
import re
from functools import cache
from typing import Any

from fleet.simulators.site import Site
from fleet.simulators.wire import Reply, Request
from tests.fleet.providers.openapi import OpenApi

# Calls that are real and that the assembled file does not have (providers.md 2.2, 2.13): nothing to hold against.
UNPUBLISHED = re.compile(
    r"POST /api/v0/asks/bulk|PUT /api/v0/search/asks|PUT /api/v1/template|GET /api/v0/gpu_names/unique"
    r"|(PUT|DELETE) /api/v0/instances|PUT /api/v0/instances/update_template/\d+|GET /vast-results/.+"
    r"|(GET|PUT) /api/v0/instances/(pending|accept|reject)-price-increases?"
)
# Any call may be refused so, in any shape of providers.md 2.1; the file names one shape, and for some calls only.
REFUSALS = (401, 403, 404, 429)
# Knobs whose whole purpose is an answer that no file describes.
BREAKING = {"price.string", "offers_object"}
# What is not known, tried in each form by a knob that is listed as invented (fleet/simulators/vast/invented.py).
INVENTED = {("PUT", 402): "out_of_credit_body", ("PUT", 411): "out_of_credit_body"}
SHAPES = {
    "oneOf": [
        {"$ref": "urn:spec#/components/schemas/Error"},
        {"type": "object", "required": ["detail"], "properties": {"detail": {"type": "string"}}},
    ]
}


@cache
def published() -> OpenApi:
    """The corrected file with every object of an answer closed."""
    spec = OpenApi.read("vast")
    for item in spec.document["paths"].values():
        for method, operation in item.items():
            if method != "parameters":
                operation["responses"] = closed(operation["responses"])
    spec.document["components"]["schemas"] = closed(spec.document["components"]["schemas"])
    spec.document["components"]["schemas"]["AnyRefusal"] = SHAPES
    return spec


def closed(value: Any) -> Any:
    """`value` with no object left open whose properties are named."""
    if isinstance(value, list):
        return [closed(each) for each in value]
    if not isinstance(value, dict):
        return value
    if "allOf" in value:  # its parts know each other's names
        return value
    found = {name: closed(each) for name, each in value.items()}
    if isinstance(value.get("properties"), dict) and value.get("type") == "object":
        found.setdefault("additionalProperties", False)
    return found


def watched(site: Site) -> list[str]:
    """What turns out to be wrong with the site's answers from now on, until a fault is set that breaks them."""
    wrong: list[str] = []
    broken: set[str] = set()
    finish, set_faults = site.finish, site.world.faults.set

    def finished(request: Request, reply: Reply) -> None:
        finish(request, reply)
        if not broken:
            wrong.extend(held(request, reply))

    def noted(knobs: dict[str, Any]) -> Any:
        broken.update(BREAKING & set(knobs))
        return set_faults(knobs)

    site.finish = finished
    site.world.faults.set = noted
    return wrong


def held(request: Request, reply: Reply) -> list[str]:
    """What is wrong with an answer; a body that a fault has broken, or made text of, is not looked at."""
    if reply.drop or reply.raw is not None or reply.stream is not None:
        return []
    return answered(request.method, request.path, request.query, reply.status, json.loads(reply.bytes()))


def answered(method: str, path: str, query: dict[str, str], status: int, body: Any) -> list[str]:
    """The same of an answer that was read."""
    if UNPUBLISHED.fullmatch(f"{method} {path.rstrip('/')}") or (method, status) in INVENTED:
        return []
    if "select_cols" in query and path.rstrip("/") == "/api/v1/instances":
        body = without_unknown(body)
    wrong = published().answer(method, path, status, "application/json", body)
    if wrong and status in REFUSALS:
        return published().against(body, ("components", "schemas", "AnyRefusal"), f"{method} {path} {status}")
    return wrong


def without_unknown(body: Any) -> Any:
    """A list without the columns that were asked for and are null: unknown names come back so (providers.md 2.6)."""
    found = copy.deepcopy(body)
    for row in found.get("instances", ()) if isinstance(found, dict) else ():
        for name in [name for name, value in row.items() if value is None]:
            del row[name]
    return found
