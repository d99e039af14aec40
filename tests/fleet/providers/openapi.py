"""Requests and answers held against an OpenAPI 3.1 document: what a provider published, not what we believe.

    spec = OpenApi.read("runpod")            # tests/data/specs/runpod.json
    spec.request("POST", "/v2/pods", {}, {}, body)      -> ["$.gpu: ..."], empty when it is as documented
    spec.answer("POST", "/v2/pods", 201, "application/json", body)

Every function returns lines and raises nothing, so that a server in a thread can collect them for its test.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.exceptions import ValidationError
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

SPECS = Path(__file__).resolve().parents[2] / "data" / "specs"
WHOLE = "urn:spec"


@dataclass
class OpenApi:
    """One document. lenient_queries: parameters that are taken although it does not name them."""

    document: dict[str, Any]
    lenient_queries: frozenset[str] = field(default_factory=frozenset)

    @classmethod
    def read(cls, name: str) -> OpenApi:
        return cls(json.loads((SPECS / f"{name}.json").read_text(encoding="utf-8")))

    def request(
        self, method: str, path: str, query: Mapping[str, str], headers: Mapping[str, str], body: Any = None
    ) -> list[str]:
        """What is wrong with a request. headers: names in lower case; body None: none was sent."""
        found = self.operation(method, path)
        if isinstance(found, str):
            return [found]
        at, operation = found
        wrong = []
        parameters = list(self.parameters(at, operation))
        named = {parameter["name"]: (parameter, place) for parameter, place in parameters if parameter["in"] == "query"}
        wrong += [f"query {name}: not documented" for name in query if name not in {*named, *self.lenient_queries}]
        for name, (parameter, place) in named.items():
            if name in query:
                wrong += self.against(self.typed(query[name], parameter), (*place, "schema"), f"query {name}")
            elif parameter.get("required"):
                wrong.append(f"query {name}: required")
        for parameter, _ in parameters:
            if parameter["in"] == "header" and parameter.get("required") and parameter["name"].lower() not in headers:
                wrong.append(f"header {parameter['name']}: required")
        return wrong + self.body(operation, (*at, method.lower(), "requestBody"), body)

    def answer(self, method: str, path: str, status: int, kind: str, body: Any = None) -> list[str]:
        """What is wrong with an answer. kind: its content type; body: parsed JSON, text for other kinds, None: none."""
        found = self.operation(method, path)
        if isinstance(found, str):
            return [] if status in (404, 405, 410) else [found]
        at, operation = found
        code = next((code for code in (str(status), "default") if code in operation.get("responses", {})), None)
        if code is None:
            return [f"{method} {path}: {status} is not documented"]
        response, place = self.resolved(operation["responses"][code], (*at, method.lower(), "responses", code))
        contents = response.get("content")
        if not contents:
            return [] if body is None else [f"{method} {path} {status}: a body where none is documented"]
        plain = kind.partition(";")[0].strip()
        if plain not in contents:
            return [f"{method} {path} {status}: {plain or 'no type'} instead of {', '.join(contents)}"]
        if not plain.endswith("json"):
            return []
        return self.against(body, (*place, "content", plain, "schema"), f"{method} {path} {status}")

    def operation(self, method: str, path: str) -> tuple[tuple[str, ...], dict[str, Any]] | str:
        """The way to the path's item and its operation; words when there is none. A literal path wins over a pattern,
        and a slash at the end does not count."""
        bare = path.rstrip("/") or "/"
        matching = [known for known in self.document["paths"] if self.pattern(known).fullmatch(bare)]
        for known in sorted(matching, key=lambda known: known.count("{")):
            item = self.document["paths"][known]
            if method.lower() in item:
                return ("paths", known), item[method.lower()]
        return f"{method} {path}: not documented"

    @staticmethod
    def pattern(known: str) -> re.Pattern[str]:
        parts = re.split(r"(\{[^}]+\})", known.rstrip("/"))
        return re.compile("".join("[^/]+" if part.startswith("{") else re.escape(part) for part in parts))

    def parameters(self, at: tuple[str, ...], operation: dict[str, Any]) -> Any:
        """(parameter, the way to it) of the path and of the operation."""
        item = self.document["paths"][at[1]]
        method = next(name for name, each in item.items() if each is operation)
        for way in ((*at, "parameters"), (*at, method, "parameters")):
            owner = item if len(way) == 3 else operation
            for index, parameter in enumerate(owner.get("parameters", [])):
                yield self.resolved(parameter, (*way, str(index)))

    def body(self, operation: dict[str, Any], way: tuple[str, ...], body: Any) -> list[str]:
        declared = operation.get("requestBody")
        if declared is None:
            return [] if body in (None, {}) else ["body: none is documented"]
        declared, way = self.resolved(declared, way)
        if body is None:
            return ["body: required"] if declared.get("required") else []
        return self.against(body, (*way, "content", "application/json", "schema"), "$")

    def typed(self, value: str, parameter: dict[str, Any]) -> Any:
        """A query's text as its schema's type; what cannot be read so stays text, and is refused."""
        schema = self.followed(parameter.get("schema", {}))
        kind = schema.get("type")
        if kind == "array":  # style: form, explode: false
            return value.split(",")
        if kind in ("integer", "number") and re.fullmatch(r"-?\d+(\.\d+)?", value):
            return int(value) if "." not in value else float(value)
        if kind == "boolean" and value in ("true", "false"):
            return value == "true"
        if kind == "object":
            try:
                return json.loads(value)
            except ValueError:
                return value
        return value

    def resolved(self, value: dict[str, Any], way: tuple[str, ...]) -> tuple[dict[str, Any], tuple[str, ...]]:
        """`value` and the way to it, after its `$ref`."""
        while "$ref" in value:
            way = tuple(value["$ref"].removeprefix("#/").split("/"))
            value = self.document
            for name in way:
                value = value[name]
        return value, way

    def followed(self, schema: dict[str, Any]) -> dict[str, Any]:
        return self.resolved(schema, ())[0]

    @cached_property
    def registry(self) -> Registry[Any]:
        return Registry().with_resource(WHOLE, Resource(self.document, DRAFT202012))

    def against(self, value: Any, way: tuple[str, ...], where: str) -> list[str]:
        """`value` held against the schema that stands at `way`; none there: anything goes."""
        at: Any = self.document
        for name in way:
            at = at[int(name)] if isinstance(at, list) else at.get(name)
            if at is None:
                return []
        pointer = "/".join(quote(name.replace("~", "~0").replace("/", "~1"), safe="~") for name in way)
        validator = Draft202012Validator(
            {"$ref": f"{WHOLE}#/{pointer}"}, registry=self.registry, format_checker=FormatChecker()
        )
        found = [inner for error in validator.iter_errors(value) for inner in innermost(error)]
        return [f"{where}{error.json_path[1:]}: {error.message}"[:300] for error in found]


def innermost(error: ValidationError) -> list[ValidationError]:
    """What is wrong within the form that a value was meant to have, where there is one besides `null`."""
    if error.validator == "anyOf" and error.instance is not None:
        meant = [each for each in error.context or () if each.message != f"{error.instance!r} is not of type 'null'"]
        return [inner for each in meant for inner in innermost(each)]
    return [error]
