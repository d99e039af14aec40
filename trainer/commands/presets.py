"""`presets`: the named configurations with their true sizes; one of them in full."""

from __future__ import annotations

import argparse
import json
import textwrap
from typing import Any

from trainer.config import Config
from trainer.config.presets import PRESETS, Preset, configured, preset
from trainer.model.count import count
from trainer.model.families import sizes_of

COLUMNS = (
    "name",
    "family",
    "shape",
    "heads",
    "vocab",
    "context",
    "parameters",
    "matrices",
    "claim",
    "step",
    "precision",
)
STORY = """Named configurations for `train --preset NAME`, with parameters counted by formula.

matrices: parameters of the blocks. claim: what a seed document says, where it is wrong. step: tokens in one.
With NAME: its values as YAML (to save, change and give to --config) and its story.
"""


def register(commands: Any) -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "presets",
        help="named configurations and their sizes",
        description=STORY,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", nargs="?", metavar="NAME", help="print this one's values and story")
    parser.add_argument("--json", action="store_true", help="JSON instead of a table or YAML")
    parser.set_defaults(act=run)


def run(options: argparse.Namespace) -> int:
    """Prints them, or one. Raises TrainerError for an unknown name."""
    if options.name:
        one = preset(options.name)
        print(json.dumps(facts(one), indent=1) if options.json else _page(one))
    else:
        rows = [facts(one) for one in PRESETS.values()]
        print(json.dumps(rows, indent=1) if options.json else _table(rows))
    return 0


def facts(one: Preset) -> dict[str, Any]:
    """Everything about a preset, as JSON values. tokens: of the whole run; kv_heads: resolved."""
    config = configured(one)
    model, counts = config.model, count(config.model)
    tokens = config.train.batch * model.context
    return {
        "name": one.name,
        "note": one.note,
        "rows": list(one.rows),
        "family": model.family,
        "layers": model.layers,
        "width": model.width,
        "heads": model.heads,
        "kv_heads": sizes_of(model).kv_heads,
        "vocab": model.vocab,
        "context": model.context,
        "parameters": counts.total,
        "matrices": counts.matrices,
        "claim": one.claim,
        "tokens_per_step": tokens,
        "tokens": tokens * config.train.steps,
        "precision": config.precision.name,
        "sharding": _sharding(config),
        "story": one.story,
        "values": one.values,
    }


def _sharding(config: Config) -> str:
    return f"ZeRO-{config.parallel.zero}" if config.parallel.zero else "none"


def _table(rows: list[dict[str, Any]]) -> str:
    cells = [list(COLUMNS), *(_cells(row) for row in rows)]
    widths = [max(len(line[number]) for line in cells) for number in range(len(COLUMNS))]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in cells)


def _cells(row: dict[str, Any]) -> list[str]:
    grouped = row["kv_heads"] != row["heads"]
    return [
        row["name"],
        row["family"],
        f"{row['layers']} x {row['width']}",
        f"{row['heads']}/{row['kv_heads']}" if grouped else str(row["heads"]),
        str(row["vocab"]),
        str(row["context"]),
        short(row["parameters"]),
        short(row["matrices"]),
        row["claim"],
        f"{row['tokens_per_step']:,}",
        row["precision"],
    ]


def short(number: int) -> str:
    """1013000000 as 1.01B, 759900000 as 760M, 825856 as 826K."""
    for factor, suffix in ((10**9, "B"), (10**6, "M"), (10**3, "K")):
        if number >= factor:
            digits = 2 if suffix == "B" or number < 10 * factor else 1 if number < 100 * factor else 0
            return f"{number / factor:.{digits}f}{suffix}"
    return str(number)


def _page(one: Preset) -> str:
    found = facts(one)
    head = [
        f"{one.name}: {one.note}",
        f"{found['parameters']:,} parameters, {found['matrices']:,} of them in the blocks' matrices"
        + (f"; the document says {one.claim}" if one.claim else ""),
        f"{found['tokens_per_step']:,} tokens in a step, {short(found['tokens'])} in the run",
        *textwrap.wrap(one.story, 110),
        *([f"Seed rows: {', '.join(one.rows)}"] if one.rows else []),
    ]
    return "\n".join([*(f"# {line}" for line in head), *_yaml(one.values, "")])


def _yaml(values: dict[str, Any], indent: str) -> list[str]:
    """Block style for mappings, one line per entry of a list; PyYAML need not be there to print."""
    lines = []
    for key, value in values.items():
        if isinstance(value, dict):
            lines += [f"{indent}{key}:", *_yaml(value, indent + "  ")]
        elif isinstance(value, list):
            lines += [f"{indent}{key}:", *(f"{indent}  - {_flow(entry)}" for entry in value)]
        else:
            lines.append(f"{indent}{key}: {_scalar(value)}")
    return lines


def _flow(entry: dict[str, Any]) -> str:
    return "{" + ", ".join(f"{key}: {_scalar(value)}" for key, value in entry.items()) + "}"


def _scalar(value: Any) -> str:
    """JSON, but with a point in every float: YAML 1.1 reads 1e-05 as text."""
    text = json.dumps(value)
    if isinstance(value, float) and "." not in text:
        return text.replace("e", ".0e")
    return text
