"""A container's command: `args` as a shell string, or as JSON with `entrypoint` and `cmd` (providers.md 1.2)."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Any

from fleet.simulators.runpod.problems import Refused


def settle(body: dict[str, Any]) -> None:
    """Puts `entrypoint` and `cmd` of a body into its `args`, as the server stores them.

    Raises Refused (400, invented) when `args` says something else at the same time.
    """
    entrypoint, cmd = body.pop("entrypoint", None), body.pop("cmd", None)
    if entrypoint is None and cmd is None:
        return
    table = {name: words for name, words in (("entrypoint", entrypoint), ("cmd", cmd)) if words}
    if "args" in body and body["args"] and read(body["args"]) != (table.get("entrypoint"), table.get("cmd", [])):
        raise Refused(400, "args does not describe the same command as entrypoint and cmd (wording invented)")
    body["args"] = json.dumps(table, separators=(",", ":")) if table else ""


def read(args: str) -> tuple[list[str] | None, list[str]]:
    """Entrypoint (None: the image's own) and command (empty: the image's own)."""
    table = _table(args)
    if table is not None:
        return table.get("entrypoint") or None, table.get("cmd") or []
    try:
        return None, shlex.split(args)
    except ValueError:  # a quotation mark without its fellow
        return None, args.split()


def shown(args: str) -> dict[str, Any]:
    """What an answer says beside `args`: the exec form, when it is one."""
    table = _table(args)
    return {} if table is None else {"entrypoint": table.get("entrypoint", []), "cmd": table.get("cmd", [])}


def _table(args: str) -> Mapping[str, list[str]] | None:
    try:
        found = json.loads(args)
    except ValueError:
        return None
    return found if isinstance(found, dict) and set(found) <= {"entrypoint", "cmd"} else None
