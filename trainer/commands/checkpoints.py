"""`checkpoints`: lists, verifies, finds, thins out, fetches, exports and compares the checkpoints of a run."""

from __future__ import annotations

import argparse
import functools
from collections.abc import Callable
from typing import Any

from trainer.commands import checkpoint_diff, checkpoint_list, checkpoint_prune, checkpoint_verify, export, pull
from trainer.commands.checkpoint_place import VERBS

STORY = """`checkpoints RUN` lists those of a run: size, validation loss, engine and ranks, state, pointers, age;
`checkpoints --remote URL` those at a store."""


def register(commands: Any) -> None:
    """Adds the command with its parts; without one it is `list`."""
    story = "list, verify, find the best, prune, pull, export and compare checkpoints"
    parser = commands.add_parser("checkpoints", help=story, description=STORY)
    parts = parser.add_subparsers(dest="part", required=True, metavar="PART")
    # argparse knows no default part
    parser.parse_known_args = functools.partial(_with_part, parser.parse_known_args)
    story = "what there is, by manifests and sizes (without PART, this)"
    checkpoint_list.add_list(parts.add_parser("list", help=story, description=story))
    story = "hash every byte; exit code 1 when one is damaged"
    checkpoint_verify.add(parts.add_parser("verify", help=story, description=f"{story}. RUN may be one checkpoint."))
    story = "print the folder with the lowest validation loss"
    checkpoint_list.add_best(parts.add_parser("best", help=story, description=story))
    checkpoint_prune.add(parts.add_parser("prune", help="make room", description=checkpoint_prune.STORY))
    pull.register(parts)
    export.register(parts)
    checkpoint_diff.add(parts.add_parser("diff", help="compare two", description=checkpoint_diff.STORY))


def _with_part(parse: Callable[..., Any], words: list[str], namespace: argparse.Namespace | None = None) -> Any:
    known = words and (words[0] in VERBS or words[0] in ("-h", "--help"))
    return parse(words if known else ["list", *words], namespace)
