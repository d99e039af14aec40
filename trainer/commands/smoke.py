"""`smoke`: environment, then train, kill, resume, compare in a scratch folder; one JSON document."""

from __future__ import annotations

import argparse
import json
from typing import Any

from trainer.commands import place
from trainer.machine import environment
from trainer.run import smoke


def register(commands: Any) -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "smoke",
        help="train, kill, resume, compare; more flags go to train",
        description="trains in a scratch folder, once whole and once killed and resumed; the losses must be the same. "
        "More flags go to train. One JSON document on standard output.",
    )
    parser.add_argument("--steps", type=int, default=40, metavar="N", help="of the run (40)")
    place.add(parser)
    parser.set_defaults(act=run, takes_rest=True)


def run(options: argparse.Namespace) -> int:
    """Runs it; the flags this parser does not know are those of `train`."""
    chosen = ["--profile", options.profile] if options.profile else []
    report = environment.report(place.reported_folder(options))
    print(json.dumps({**smoke.smoke([*chosen, *options.rest], options.steps), "environment": report}))
    return 0
