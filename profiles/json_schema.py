"""The JSON Schema of a profile file, for editors: `profiles --schema`, committed as profiles/schema.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FILE = Path(__file__).parent / "schema.json"


def json_schema() -> dict[str, Any]:
    """Draft 2020-12. Nothing is required in it: what a file leaves out may come from the one it extends."""
    from profiles import gpus
    from profiles.schema import Profile

    schema = Profile.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "Stoker profile"
    properties = schema["properties"]
    del properties["name"]
    schema["properties"] = {
        "extends": {
            "type": "string",
            "description": "Profile this one is laid over: a name, or a path relative to this file. "
            "Mappings merge, everything else is replaced.",
            "examples": ["gpu"],
        },
        "abstract": {"type": "boolean", "description": "Only there to be extended: not listed, not built."},
        **properties,
    }
    schema["$defs"]["GpuWish"]["properties"]["type"]["enum"] = gpus.names()
    drop_required(schema)
    return schema


def drop_required(node: Any) -> None:
    """Takes out every `required` list that is a keyword, not a property's name."""
    if isinstance(node, dict):
        if isinstance(node.get("required"), list):
            del node["required"]
        for value in node.values():
            drop_required(value)
    elif isinstance(node, list):
        for value in node:
            drop_required(value)


def text() -> str:
    """The content of profiles/schema.json."""
    return json.dumps(json_schema(), indent=2) + "\n"


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")
