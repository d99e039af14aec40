"""`export`: a run as a Hugging Face folder that transformers loads with the same logits."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from trainer.commands import opened
from trainer.errors import TrainerError

STORY = """Writes config.json, generation_config.json, model.safetensors (several files and an index above
--shard-gb), tokenizer.json, tokenizer_config.json, README.md, and stoker.json with the hashes of the weights.
The folder appears whole or not at all. `sample`, `eval`, `sft` and `inspect` read it too."""


def register(commands: Any) -> None:
    """Adds the command."""
    parser = commands.add_parser("export", help="write a Hugging Face folder", description=STORY)
    opened.add(parser, device=False)
    parser.add_argument("--out", required=True, metavar="DIR", help="folder to make")
    parser.add_argument("--dtype", default="fp32", metavar="T", help="of the weights: fp32, bf16, fp16")
    parser.add_argument("--shard-gb", type=float, default=5.0, metavar="GB", help="largest weight file, 10^9 bytes")
    parser.add_argument("--force", action="store_true", help="replace an export that is there")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    parser.set_defaults(act=run)


def run(options: argparse.Namespace) -> int:
    """Writes it."""
    if not options.shard_gb > 0:
        raise TrainerError(f"--shard-gb is {options.shard_gb}", "give more than 0")
    with opened.needs_torch():
        from trainer.after.export import export
    limit = int(min(options.shard_gb * 1e9, 1e18))
    done = export(
        options.path, Path(options.out), options.checkpoint, options.dtype, options.force, max(1, limit), _say
    )
    if options.json:
        report = {"out": str(done.folder), "files": done.files, "bytes": done.bytes, "tensors": done.tensors}
        print(json.dumps({**report, "step": done.facts.get("step"), "dtype": options.dtype}))
    else:
        print(f"{done.folder}: {len(done.files)} files, {done.bytes:,} bytes, {options.dtype}")
    return 0


def _say(text: str) -> None:
    print(f"trainer: {text}", file=sys.stderr, flush=True)
