"""`data`: makes token shards from text, says what a prepared folder holds, checks it. Needs no torch."""

from __future__ import annotations

import argparse
import json
import re
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from trainer.errors import CHECK_FAILED

TOKENIZER = """bytes | chars | chars:FILE | gpt2 | gpt2:FOLDER | tiktoken:NAME | hf:PATH_OR_REPO |
FOLDER (the tokenizer of a prepared folder)"""
SOURCES = """a text, JSONL or parquet file (.gz, .xz, .zst, .bz2 too), a folder, a glob, or
hf-dataset:NAME[:CONFIG[:SPLIT]]"""


def register(commands: Any) -> None:
    """Adds the command with its parts prepare, show and verify."""
    story = "prepare token shards from a corpus, show and verify them"
    parser = commands.add_parser("data", help=story, description=story)
    parts = parser.add_subparsers(dest="part", required=True, metavar="PART")
    story = "make a folder of token shards; killed, the same command goes on"
    _add_prepare(parts.add_parser("prepare", help=story, description=story))
    story = "tokens, documents, bytes per token, tokenizer, a sample"
    shown = parts.add_parser("show", help=story, description=story)
    shown.add_argument("folder", type=Path, metavar="DIR", help="made by `data prepare`")
    shown.add_argument("--tokens", type=whole, default=0, metavar="N", help="how many epochs N tokens are (10B)")
    shown.add_argument("--json", action="store_true", help="one JSON object")
    story = "hash every file; exit 1 and name the bad ones"
    checked = parts.add_parser("verify", help=story, description=story)
    checked.add_argument("folder", type=Path, metavar="DIR", help="made by `data prepare`")
    checked.add_argument("--json", action="store_true", help="one JSON object")
    parser.set_defaults(act=run)


def run(options: argparse.Namespace) -> int:
    """Does the part that was asked for."""
    parts: dict[str, Callable[[argparse.Namespace], int]] = {"prepare": _prepare, "show": _show, "verify": _verify}
    return parts[options.part](options)


def whole(text: str) -> int:
    """A number of tokens or documents: 1000, 250K, 64M, 2.5B (thousands)."""
    return _number(text, 1000)


def binary(text: str) -> int:
    """A number of tokens in a shard: 64M is 67,108,864."""
    return _number(text, 1024)


def _number(text: str, base: int) -> int:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([KMBGkmbg]?)", text.replace("_", "").replace(",", ""))
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} is no number such as 5000, 64M or 2.5B")
    power = {"": 0, "k": 1, "m": 2, "b": 3, "g": 3}[found[2].lower()]
    scale: int = base**power
    return round(float(found[1]) * scale)


def _add_prepare(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("sources", nargs="+", metavar="SOURCE", help=SOURCES)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="the folder to make")
    parser.add_argument("--tokenizer", required=True, metavar="SPEC", help=TOKENIZER)
    parser.add_argument("--eot", metavar="TOKEN", help="end-of-text between documents: a token's text or its id")
    parser.add_argument("--vocab-size", type=int, default=0, metavar="N", help="fail if the tokenizer has more ids")
    split = parser.add_mutually_exclusive_group()
    split.add_argument(
        "--val", type=float, default=0.005, metavar="SHARE", help="of documents (default 0.005; 0: none)"
    )
    split.add_argument("--val-tokens", type=whole, default=0, metavar="N", help="about N tokens of validation instead")
    parser.add_argument(
        "--shard-tokens", type=binary, default=1 << 26, metavar="N", help="a power of two (default 64M)"
    )
    parser.add_argument("--workers", type=int, default=0, metavar="N", help="processes (default: as many as cores)")
    parser.add_argument("--format", choices=("auto", "text", "jsonl", "parquet"), default="auto", help="of the files")
    parser.add_argument("--text-key", default="text", metavar="KEY", help="of the text in JSON lines and rows")
    lie = parser.add_mutually_exclusive_group()
    lie.add_argument("--separator", metavar="TEXT", help="between the documents of a text file (\\n, \\t are read)")
    lie.add_argument("--blank-lines", action="store_true", help="empty lines separate the documents of a text file")
    parser.add_argument("--limit-documents", type=whole, default=0, metavar="N", help="end after N documents")
    parser.add_argument("--limit-tokens", type=whole, default=0, metavar="N", help="end after N tokens")
    parser.add_argument("--skip-bad", action="store_true", help="count bad documents and leave them out")
    parser.add_argument("--force", action="store_true", help="replace what another preparation left in the folder")
    parser.add_argument("--quiet", action="store_true", help="no progress on standard error")
    parser.add_argument("--json", action="store_true", help="the result as one JSON object")


def _prepare(options: argparse.Namespace) -> int:
    from trainer.data.limits import Limits
    from trainer.data.prepare import prepare
    from trainer.data.readers import Shape
    from trainer.data.wish import Wish

    separator = "" if options.blank_lines else options.separator
    if separator:
        separator = separator.replace("\\n", "\n").replace("\\t", "\t")
    wish = Wish(
        options.sources,
        options.out,
        options.tokenizer,
        options.eot,
        options.val,
        options.val_tokens,
        options.shard_tokens,
        options.workers,
        Shape(separator, options.text_key),
        options.format,
        Limits(options.limit_documents, options.limit_tokens),
        options.skip_bad,
        options.vocab_size,
        options.force,
        options.quiet,
    )
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C
    done = prepare(wish)
    if options.json:
        print(json.dumps(done))
        return 0
    for warning in done["warnings"]:
        print(f"trainer: WARNING: {warning}", file=sys.stderr)
    if done["left_out"]:
        names = ", ".join(done["left_out"][:3])
        print(f"trainer: {len(done['left_out'])} files of no known form were left out ({names})", file=sys.stderr)
    if done["skipped"]:
        print(f"trainer: {done['skipped']} bad documents were left out", file=sys.stderr)
    print(("was already prepared\n" if done["already"] else "") + _text(done))
    return 0


def _show(options: argparse.Namespace) -> int:
    from trainer.data.show import show

    told = show(options.folder, options.tokens)
    if options.json:
        print(json.dumps(told))
        return 0
    print(_text(told))
    if "epochs" in told:
        print(f"epochs     {options.tokens:,} tokens are {told['epochs']:g} epochs")
    for name, sample in told["samples"].items():
        print(f"{name:10} {sample[:300]!r}")
    return 0


def _verify(options: argparse.Namespace) -> int:
    from trainer.data.show import verify

    faults = verify(options.folder)
    if options.json:
        print(json.dumps({"folder": str(options.folder), "good": not faults, "faults": faults}))
    else:
        print("\n".join(faults) or f"{options.folder} is whole")
    return CHECK_FAILED if faults else 0


def _text(told: dict[str, Any]) -> str:
    splits = "\n".join(
        f"{name:10} {one['tokens']:,} tokens, {one['documents']:,} documents, {one['shards']} shards"
        for name, one in told["splits"].items()
    )
    per = told["bytes_per_token"]
    made = told["tokenizer"]
    return (
        f"folder     {told['folder']}\n"
        f"tokenizer  {made['name']} ({made['kind']}), {told['vocab']:,} ids as {told['dtype']}, eot {made['eot']}\n"
        f"{splits}\n"
        f"text       {told['bytes']:,} bytes, {per} bytes per token"
    )
