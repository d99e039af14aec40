"""Makes a reduced extract of a provider's published OpenAPI file: the paths that Stoker and its simulators use, the
schemas that these need, without prose and examples.

    python tests/data/specs/extract.py runpod ../shared/specs/runpod-rest-v2-openapi.json

writes tests/data/specs/runpod.json, with the source's name, version and hash. Nothing is corrected here: what real
servers do beyond the file stands beside the tests that need it, each with its reason.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PATHS = {
    "runpod": (
        "/v2/account/ssh-keys",
        "/v2/pods",
        "/v2/pods/{id}",
        "/v2/pods/{id}/logs",
        "/v2/pods/{id}/action",
        "/v2/templates",
        "/v2/templates/{id}",
        "/v2/network-volumes",
        "/v2/network-volumes/{id}",
        "/v2/registries",
        "/v2/registries/{id}",
        "/v2/registries/delegations",
        "/v2/catalog/gpus",
        "/v2/catalog/gpus/{id}",
        "/v2/catalog/cpus",
        "/v2/catalog/cpus/{id}",
        "/v2/catalog/datacenters",
        "/v2/catalog/datacenters/{id}",
        "/v2/catalog/templates",
        "/v2/billing",
        "/v2/billing/pods",
        "/v2/billing/network-volumes",
    ),
}
SOURCES = {"runpod": "runpod/docs: api-reference-v2/openapi.json, changed 2026-08-18 (commit 098c7fb0)"}
PROSE = ("description", "summary", "title", "example", "examples", "externalDocs", "tags", "operationId", "security")
NAMED = ("properties", "patternProperties", "schemas", "parameters", "headers", "responses", "paths", "$defs")


def bare(value: Any, named: bool = False) -> Any:
    """`value` without prose. named: its keys are names somebody chose, so that a property may be called `title`."""
    if isinstance(value, list):
        return [bare(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        name: bare(inner, not named and name in NAMED)
        for name, inner in value.items()
        if named or not (name in PROSE or name.startswith("x-"))
    }


def references(value: Any) -> set[str]:
    """Every local `$ref` in `value`."""
    if isinstance(value, list):
        return set().union(*map(references, value)) if value else set()
    if not isinstance(value, dict):
        return set()
    own = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
    return own.union(*(references(inner) for inner in value.values()))


def extract(spec: dict[str, Any], paths: tuple[str, ...]) -> dict[str, Any]:
    """`paths` of `spec` and the components that they reach."""
    chosen = {path: bare(spec["paths"][path]) for path in paths}
    components: dict[str, dict[str, Any]] = {}
    waiting, done = sorted(references(chosen)), set()
    while waiting:
        reference = waiting.pop()
        if reference in done:
            continue
        done.add(reference)
        _, _, kind, name = reference.split("/")
        found = bare(spec["components"][kind][name])
        components.setdefault(kind, {})[name] = found
        waiting += sorted(references(found))
    ordered = {kind: dict(sorted(named.items())) for kind, named in sorted(components.items())}
    return {"paths": chosen, "components": ordered}


def read(content: bytes) -> dict[str, Any]:
    """The document, JSON or YAML."""
    try:
        found: dict[str, Any] = json.loads(content)
    except ValueError:
        import yaml

        found = yaml.safe_load(content)
    return found


def main(name: str, source: Path) -> None:
    content = source.read_bytes()
    spec = read(content)
    head = {
        "openapi": spec["openapi"],
        "x-extract-of": {
            "source": SOURCES[name],
            "version": spec["info"]["version"],
            "sha256": hashlib.sha256(content).hexdigest(),
            "left out": "other paths, prose, examples",
        },
    }
    made = json.dumps({**head, **extract(spec, PATHS[name])}, indent=1, ensure_ascii=False)
    (HERE / f"{name}.json").write_text(made + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
