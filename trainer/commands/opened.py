"""What the commands on a trained model share: which model, where it computes, and torch that may be missing."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager

from trainer.errors import OUTSIDE_FAILED, TrainerError
from trainer.run import interrupt

WHERE = "a run folder, RUN/checkpoints/step-..., or a folder made by `export`"


def add(parser: argparse.ArgumentParser, device: bool = True) -> None:
    """Adds PATH, --checkpoint and, where something is computed, --device and --dtype."""
    parser.add_argument("path", metavar="PATH", help=WHERE)
    parser.add_argument("--checkpoint", default="latest", metavar="C", help="of a run: latest, best or a step")
    if device:
        parser.add_argument("--device", default="auto", metavar="D", help="auto, cpu or cuda")
        parser.add_argument("--dtype", default="fp32", metavar="T", help="of weights and arithmetic: fp32, bf16, fp16")


@contextmanager
def needs_torch() -> Iterator[None]:
    """Around imports. Raises TrainerError naming the package that is missing; a Ctrl-C meanwhile is not lost."""
    try:
        yield
    except ModuleNotFoundError as error:
        hint = f"use the image, or pip install {(error.name or 'torch').partition('.')[0]}"
        raise TrainerError(f"{error.name} is not installed here", hint, OUTSIDE_FAILED) from None
    interrupt.again()
