"""`bench`: this machine's numbers as one JSON document; words on standard error."""

from __future__ import annotations

import argparse
import json
import platform
import sys
from typing import Any

from trainer.commands import opened
from trainer.errors import TrainerError


def register(commands: Any) -> None:
    """Adds the command."""
    story = "measure this machine: step, loader; --gpu: MFU and FP8 against bf16"
    parser = commands.add_parser("bench", help=story, description=f"{story}. One JSON document on standard output.")
    parser.add_argument("--steps", type=int, default=40, metavar="N", help="timed steps (CPU), steps per run (GPU); 40")
    parser.add_argument("--gpu", action="store_true", help="the rows that need a GPU, instead of the others")
    parser.add_argument("--data", default="", metavar="PATH", help="prepared folder or text, for --gpu")
    parser.add_argument("--backend", default="native", choices=["native", "te"], help="FP8 back end, for --gpu")
    parser.add_argument("--set", action="append", default=[], metavar="A.B=C", help="one value of the run; repeatable")
    parser.set_defaults(act=run)


def run(options: argparse.Namespace) -> int:
    """Measures; the document on standard output."""
    if options.steps < 1:
        raise TrainerError(f"--steps is {options.steps}", "give at least 1")
    with opened.needs_torch():
        import torch

        from trainer.bench import gpu, loader, step

    if options.gpu:
        rows = [gpu.measure(options.data, options.steps, options.backend, options.set)]
    else:
        print("trainer: steps of the trainer and of a bare loop, in turn; then the loader alone", file=sys.stderr)
        measured = step.measure(options.steps)
        rows = [measured, loader.measure(measured["tokens_per_step"] / measured["trainer_ms"] * 1e3)]
    print(json.dumps({"rows": rows, "torch": torch.__version__, "python": platform.python_version()}, indent=1))
    return 0
