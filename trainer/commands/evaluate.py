"""`eval`: validation loss, perplexity and bits per byte of a trained model."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from trainer.commands import opened
from trainer.config.amounts import amount
from trainer.errors import TrainerError

STORY = """Validation loss, perplexity and bits per byte. Without --data: the data the run was trained on.

--data may also be a chat JSONL file: the loss is then that of the answers (see `sft`). Bits per byte divides the loss
of all tokens, end-of-text included, by the UTF-8 bytes they stand for: models with different tokenizers compare.
"""


def register(commands: Any) -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "eval",
        help="validation loss, bits per byte",
        description=STORY,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    opened.add(parser)
    parser.add_argument("--data", metavar="PATH", help="prepared folder, text file, or chat JSONL")
    parser.add_argument("--split", default="val", metavar="S", help="val or train")
    parser.add_argument("--tokens", default="0", metavar="N", help="at most so many, spread evenly; 0: all")
    parser.add_argument("--batch", type=int, default=8, metavar="N", help="windows at once")
    parser.add_argument("--cache", metavar="DIR", help="for remote shards (default: RUN/shards, or .shards)")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    parser.set_defaults(act=run)


def run(options: argparse.Namespace) -> int:
    """Measures and prints."""
    try:
        tokens = max(0, amount(options.tokens))
    except ValueError:
        raise TrainerError(f"--tokens is {options.tokens!r}", "give a whole number, for example 2M") from None
    if options.batch < 1:
        raise TrainerError(f"--batch is {options.batch}", "give at least 1")
    if options.split not in ("val", "train"):
        raise TrainerError(f"--split is {options.split!r}", "give val or train")
    with opened.needs_torch():
        from trainer.after.held_out import held_out
        from trainer.after.source import open_model
        from trainer.run.evaluate import evaluate
    loaded = open_model(options.path, options.checkpoint, options.device, options.dtype)
    cache = Path(options.cache) if options.cache else None
    data = held_out(loaded, options.data, options.split, cache)
    device = loaded.model.tokens.weight.device
    result = evaluate(loaded.model, data.pairs, data.token_bytes, tokens=tokens, batch=options.batch, device=device)
    values = result.to_json()
    if options.json:
        told = {"path": options.path, "step": loaded.facts.get("step"), "data": data.name, "split": options.split}
        print(json.dumps({**told, **values}))
        return 0
    bits = f"{result.bits_per_byte:.4f}" if result.bits_per_byte is not None else "unknown: the data has no token bytes"
    print(f"loss             {result.loss:.4f} nats per token")
    print(f"perplexity       {result.perplexity:.2f}")
    print(f"bits per byte    {bits}")
    print(f"tokens           {result.tokens:,} in {result.windows:,} windows of {data.name}, {options.split}")
    print(f"speed            {result.tokens_per_s:,.0f} tokens/s")
    return 0
