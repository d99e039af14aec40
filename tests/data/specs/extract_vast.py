"""Makes the reduced extract of Vast's OpenAPI file, with the corrections of vast_corrections.yaml and their reasons.

    python tests/data/specs/extract_vast.py ../shared/specs/vast-openapi.yaml

writes tests/data/specs/vast.json: the paths that Stoker uses, without prose and examples (extract.py).
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

from extract import extract, read

HERE = Path(__file__).parent
CORRECTIONS = HERE / "vast_corrections.yaml"
PATHS = (
    "/api/v0/asks/{id}",
    "/api/v0/bundles",
    "/api/v0/charges",
    "/api/v0/instances/{id}",
    "/api/v0/instances/{id}/ssh",
    "/api/v0/instances/{id}/ssh/{ssh_key_id}",
    "/api/v0/instances/balance/{id}",
    "/api/v0/instances/bid_price/{id}",
    "/api/v0/instances/command/{id}",
    "/api/v0/instances/prepay/{id}",
    "/api/v0/instances/reboot/{id}",
    "/api/v0/instances/recycle/{id}",
    "/api/v0/instances/request_logs/{id}",
    "/api/v0/secrets",
    "/api/v0/ssh",
    "/api/v0/ssh/{id}",
    "/api/v0/template",
    "/api/v0/users/current",
    "/api/v0/volumes",
    "/api/v0/volumes/search",
    "/api/v1/instances",
    "/api/v1/invoices",
)
SOURCE = "vast-ai/docs: api-reference/openapi.yaml, changed 2026-07-22 (commit e758d350)"


def correct(document: dict[str, Any], correction: dict[str, Any]) -> None:
    """Applies one. Raises KeyError where the document has no such place: then the correction is out of date."""
    *way, last = [part.replace("~1", "/") for part in correction["at"].split("/")]
    place: Any = document
    for part in way:
        place = place[part]
    if "remove" in correction:
        place[last].remove(correction["remove"])
    elif "nullable" in correction:
        place[last] = {"anyOf": [place[last], {"type": "null"}]}
    elif "add" in correction:
        if known := set(place[last]) & set(correction["add"]):
            raise KeyError(f"{correction['at']}: {', '.join(sorted(known))} is there")
        place[last] |= correction["add"]
    else:
        place[last] = correction["set"]


def made(content: bytes) -> dict[str, Any]:
    """The extract of the published file's bytes, corrected."""
    import yaml

    spec = read(content)
    head = {
        "openapi": spec["openapi"],
        "x-extract-of": {
            "source": SOURCE,
            "version": spec["info"]["version"],
            "sha256": hashlib.sha256(content).hexdigest(),
            "left out": "other paths, prose, examples",
            "changed": CORRECTIONS.name,
        },
    }
    document = {**head, **extract(spec, PATHS)}
    for correction in yaml.safe_load(CORRECTIONS.read_text(encoding="utf-8")):
        correct(document, correction)
    return document


if __name__ == "__main__":
    found = json.dumps(made(Path(sys.argv[1]).read_bytes()), indent=1, ensure_ascii=False)
    (HERE / "vast.json").write_text(found + "\n", encoding="utf-8")
