"""Where a command works: the baked profile and the run folder."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from trainer.errors import OUTSIDE_FAILED, TrainerError
from trainer.machine import profile as baked
from trainer.run import folder as runs


def add(parser: argparse.ArgumentParser) -> None:
    """Adds --profile and --run."""
    parser.add_argument("--profile", metavar="FILE", help="baked profile (default: /opt/stoker/profile.json if there)")
    parser.add_argument("--run", metavar="DIR", help="run folder (default: STOKER_RUN_DIR, the volume, or under home)")


def run_folder(options: argparse.Namespace, profile: dict[str, Any]) -> Path:
    """The run folder that is meant. Raises TrainerError when no place can be written."""
    if options.run:
        return Path(options.run)
    return runs.default_folder(profile, baked.home() if profile else Path.cwd())


def reported_folder(options: argparse.Namespace) -> Path:
    """The run folder for those who only look: a read-only container has none, and that is no fault."""
    try:
        return run_folder(options, baked.read(options.profile))
    except TrainerError as error:
        if error.exit_code != OUTSIDE_FAILED:
            raise
        return baked.home()
