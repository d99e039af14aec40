"""What tasks print: tables for people, one JSON document with --json; standard output carries nothing else."""

from __future__ import annotations

import json as jsonlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, is_dataclass
from typing import Any

from invoke.exceptions import Exit


def document(value: Any) -> None:
    """One JSON document."""
    if is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    sys.stdout.write(jsonlib.dumps(value, indent=2, ensure_ascii=False, default=str) + "\n")


def text(value: str) -> None:
    """Text as it is."""
    sys.stdout.write(value if value.endswith("\n") else value + "\n")


def cell(value: Any) -> str:
    """A value as it reads in a table."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return ", ".join(cell(item) for item in value)
    return str(value)


def table(rows: Sequence[Mapping[str, Any]], json: bool) -> None:
    """Rows with the same keys: a column each, as wide as its widest value."""
    if json:
        return document(list(rows))
    if not rows:
        return text("nothing yet")
    names = [name for name in rows[0] if any(row.get(name) not in (None, "") for row in rows)]
    lines = [[name.replace("_", " ") for name in names], *[[cell(row.get(name)) for name in names] for row in rows]]
    widths = [max(len(line[column]) for line in lines) for column in range(len(names))]
    for line in lines:
        print("  ".join(value.ljust(width) for value, width in zip(line, widths, strict=True)).rstrip())
    return None


def pairs(values: Mapping[str, Any], json: bool) -> None:
    """Names and values, one a line; nested mappings are indented."""
    if json:
        return document(values)
    for line in lines_of(values, ""):
        print(line)
    return None


def lines_of(values: Mapping[str, Any], indent: str) -> list[str]:
    width = max((len(str(name)) for name in values), default=0)
    lines = []
    for name, value in values.items():
        if isinstance(value, Mapping):
            lines += [f"{indent}{name}", *lines_of(value, indent + "  ")]
        else:
            lines.append(f"{indent}{name!s:<{width}}  {cell(value)}")
    return lines


def findings(report: Any, json: bool) -> None:
    """A list of checks; exits 1 when one of them failed.

    report: a mapping or dataclass with `ok` and `checks` ({check, ok, detail}); a check whose ok is None is a note.
    """
    value = asdict(report) if is_dataclass(report) and not isinstance(report, type) else dict(report)
    if json:
        document(value)
    else:
        width = max((len(row["check"]) for row in value["checks"]), default=0)
        for row in value["checks"]:
            mark = {True: "ok  ", False: "FAIL", None: "note"}[row["ok"]]
            print(f"{mark}  {row['check']:<{width}}  {cell(row.get('detail', ''))}".rstrip())
    if not value["ok"]:
        failed = [row["check"] for row in value["checks"] if row["ok"] is False]
        raise Exit("" if json else f"error: failed: {', '.join(failed)}", 1)


def differences(report: Any, json: bool) -> None:
    """The outcome of `diff`; exits 0 either way: a difference is an answer, not a failure."""
    value = asdict(report) if is_dataclass(report) and not isinstance(report, type) else report
    pairs(value, json)


def built(rows: Sequence[Mapping[str, Any]], json: bool) -> None:
    """What build or push made: one block per image, or a JSON list."""
    if json:
        return document(list(rows))
    for row in rows:
        print(row["tag"])
        print("\n".join(lines_of({k: v for k, v in row.items() if k != "tag" and v not in (None, [], "")}, "  ")))
    return None


def changes(found: Mapping[str, Sequence[str]], check: bool, json: bool) -> None:
    """What lock changed (or, with --check, what has drifted: then exit 1)."""
    drifted = any(found.values())
    if json:
        document({"drift" if check else "changed": drifted, "profiles": found})
    else:
        for name, lines in found.items():
            print(f"{name}: " + ("unchanged" if not lines else ""))
            for line in lines:
                print(f"  {line}")
    if check and drifted:
        raise Exit("" if json else "error: the locks have drifted\n  next: ./inv lock --profile NAME, and commit", 1)
