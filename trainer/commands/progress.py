"""`progress`: where the run of a folder stands, by its files alone; needs neither torch nor a GPU."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

from trainer.commands import place
from trainer.errors import CHECK_FAILED, TrainerError
from trainer.metrics import log
from trainer.metrics.follow import NewLines
from trainer.metrics.progress import Follower, Progress, summary, told_by_config


def register(commands: Any) -> None:
    """Adds the command."""
    story = "step, speed, what is left in hours and dollars, goodput"
    parser = commands.add_parser("progress", help=story, description=f"{story}; by the run's files alone")
    place.add(parser)
    parser.add_argument("--json", action="store_true", help="one JSON object (one a line with --follow)")
    parser.add_argument("--follow", action="store_true", help="again whenever there is news, until the run ends")
    parser.add_argument("--seconds", type=float, default=5.0, metavar="S", help="between two looks of --follow (5)")
    parser.set_defaults(act=run)


def run(options: argparse.Namespace) -> int:
    """Prints it; 1 when there is no log yet."""
    folder = place.reported_folder(options)
    follower = Follower(*told_by_config(folder))
    files = [NewLines(folder / name) for name in (log.TRAINING, log.PERFORMANCE)]
    if not _news(files, follower):
        hint = "give --run FOLDER, or start one: python -m trainer train"
        raise TrainerError(f"no log in {folder}: {log.TRAINING} is missing or empty", hint, CHECK_FAILED)
    now = follower.progress()
    _show(now, folder, options)
    try:
        while options.follow and not now.ended:
            time.sleep(max(0.05, options.seconds))
            if _news(files, follower):
                now = follower.progress()
                _show(now, folder, options)
    except KeyboardInterrupt:
        pass
    return 0


def _news(files: list[NewLines], follower: Follower) -> int:
    """Takes what is new into account; how many lines that was."""
    lines = [line for file in files for line in file.read()]
    for line in lines:
        follower.add(line)
    return len(lines)


def _show(progress: Progress, folder: Path, options: argparse.Namespace) -> None:
    if options.json:
        print(json.dumps({"run": str(folder), **progress.to_json()}), flush=True)
    else:
        print(f"run        {folder}\n{summary(progress)}", flush=True)
