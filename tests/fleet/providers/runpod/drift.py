"""RunPod's published API with what the real one is known to do beyond it (providers.md 1.2): each addition by name, so
that a test can hold requests against the published form, the newer form, or both."""

from __future__ import annotations

import copy
from functools import cache
from typing import Any

from tests.fleet.providers.openapi import OpenApi

WORDS = {"type": "array", "items": {"type": "string"}}
PAGINATION = {
    "type": "object",
    "required": ["nextCursor", "hasNextPage"],
    "properties": {"nextCursor": {"type": ["string", "null"]}, "hasNextPage": {"type": "boolean"}},
}
SECRET = {
    "type": "object",
    "required": ["name"],
    "properties": {"id": {"type": "string"}, "name": {"type": "string"}, "description": {"type": "string"}},
    "not": {"required": ["value"]},  # write-only
}
NEW_SECRET = {
    "type": "object",
    "additionalProperties": False,
    "required": ["name", "value"],
    "properties": {
        "name": {"type": "string", "maxLength": 191, "pattern": "^(?!RUNPOD)[A-Za-z_]"},
        "value": {"type": "string"},
        "description": {"type": "string"},
    },
}
PROBLEM = {"content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/ErrorResponse"}}}}


@cache
def published() -> OpenApi:
    """As of August 2026, nothing added."""
    return OpenApi.read("runpod")


@cache
def newer() -> OpenApi:
    """With the drift."""
    spec = copy.deepcopy(published().document)
    schemas = spec["components"]["schemas"]
    schemas["BaseContainerConfig"]["properties"] |= {"entrypoint": WORDS, "cmd": WORDS}
    least = {"type": "integer", "minimum": 1}
    schemas["CreateGpuConfig"]["allOf"].append({"properties": {"minRamPerGpu": least, "minVcpuCountPerGpu": least}})
    schemas["GpuConfig"]["properties"] |= {"vcpuCount": {"type": "integer"}, "memory": {"type": "number"}}
    for listing, path in (("ListPodsResponse", "/v2/pods"), ("ListTemplatesResponse", "/v2/templates")):
        schemas[listing]["properties"]["pagination"] = PAGINATION
        spec["paths"][path]["get"].setdefault("parameters", []).extend(
            [
                {"name": "cursor", "in": "query", "schema": {"type": "string"}},
                {"name": "limit", "in": "query", "schema": {"type": "integer", "minimum": 1, "maximum": 1000}},
            ]
        )
    spec["paths"]["/v2/secrets"] = {"get": listing_of_secrets(), "post": creating_a_secret()}
    return OpenApi(spec)


def listing_of_secrets() -> dict[str, Any]:
    many = {
        "type": "object",
        "required": ["secrets"],
        "properties": {"secrets": {"type": "array", "items": SECRET}, "pagination": PAGINATION},
    }
    return {
        "parameters": [{"name": "name", "in": "query", "schema": {"type": "string"}}],
        "responses": {"200": {"content": {"application/json": {"schema": many}}}, "default": PROBLEM},
    }


def creating_a_secret() -> dict[str, Any]:
    return {
        "requestBody": {"required": True, "content": {"application/json": {"schema": NEW_SECRET}}},
        "responses": {"201": {"content": {"application/json": {"schema": SECRET}}}, "default": PROBLEM},
    }
