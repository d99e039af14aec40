"""`inspect`: what lies in a run, a checkpoint or an export; 1 when it is damaged."""

from __future__ import annotations

import argparse
import json
from typing import Any

from trainer.after.inspect import inspect
from trainer.commands import opened
from trainer.errors import CHECK_FAILED

STORY = """Steps, tokens, losses, precision, engine, parameters by part, tokenizer and files, and whether all is as it
was written (sizes and sha256). Needs no torch, but for --tensors. Exit code 1: something is damaged."""


def register(commands: Any) -> None:
    """Adds the command."""
    parser = commands.add_parser("inspect", help="what is in a run, checkpoint or export", description=STORY)
    opened.add(parser, device=False)
    parser.add_argument("--tensors", action="store_true", help="name, shape, dtype and norm of every tensor")
    parser.add_argument("--quick", action="store_true", help="compare sizes only, no hashes")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    parser.set_defaults(act=run)


def run(options: argparse.Namespace) -> int:
    """Looks and prints."""
    with opened.needs_torch():
        report = inspect(options.path, options.checkpoint, options.tensors, not options.quick)
    print(json.dumps(report) if options.json else "\n".join(lines(report)))
    return CHECK_FAILED if report["damage"] else 0


def lines(report: dict[str, Any]) -> list[str]:
    """The report as text, one fact a line."""
    tables = ("files", "checkpoints", "parameters", "tensors", "damage")
    told = [f"{name:<13} {_value(value)}" for name, value in report.items() if name not in tables and value is not None]
    if "parameters" in report:
        told += ["parameters", *(f"  {name:<11} {size:>16,}" for name, size in report["parameters"].items())]
    for row in report.get("checkpoints", []):
        names = f" ({', '.join(row['pointers'])})" if row["pointers"] else ""
        told.append(f"  {row['checkpoint']} {row['bytes']:>16,} bytes  {row['damage'] or 'whole'}{names}")
    for row in report.get("files", []):
        size = "-" if row["bytes"] is None else f"{row['bytes']:,}"
        told.append(f"  {row['file']:<28} {size:>16}  {row['state']}")
    for row in report.get("tensors", []):
        shape = "x".join(str(size) for size in row["shape"])
        told.append(f"  {row['name']:<36} {shape:>14}  {row['dtype']:<9} norm {row['norm']:.6g}")
    return [*told, f"damage        {report['damage'] or 'none'}"]


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_value(inner)}" for name, inner in value.items() if inner is not None)
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
