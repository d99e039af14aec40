"""`import`: makes a checkpoint that DeepSpeed's own save_checkpoint wrote the first one of a run."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from trainer.commands import opened, place
from trainer.commands.train import add_config, resolved
from trainer.errors import TrainerError

STORY = """Takes a folder that DeepSpeed's engine.save_checkpoint wrote (ZeRO stages 0 to 3, any number of data parallel
ranks, fp32, bf16 or fp16, Adam or AdamW; also one made by ds_to_universal) for a model with this trainer's parameter
names, and makes one checkpoint of it: `train --run RUN` with the same settings goes on from there, under any engine,
stage and number of ranks. DeepSpeed need not be installed, and no code in the files is run.

Settings as for train: they must be those of the model. Step and samples come from client_state (keys step, samples),
else from DeepSpeed's count of steps, times train.batch; --step and --samples win.
Exit codes: 0 done, 2 wrong input, 3 a file is missing or damaged, 4 RUN has checkpoints.
"""


def register(commands: Any) -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "import",
        help="take over a DeepSpeed checkpoint",
        description=STORY,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", metavar="FOLDER", help="what save_checkpoint was given, or one tag's folder in it")
    parser.add_argument("--tag", metavar="TAG", help="which of its checkpoints (default: the one `latest` names)")
    place.add(parser)
    add_config(parser)
    parser.add_argument("--step", type=int, metavar="N", help="optimizer steps done")
    parser.add_argument("--samples", type=int, metavar="N", help="windows read: the place in the data")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    parser.set_defaults(act=run)


def run(options: argparse.Namespace) -> int:
    """Takes it over and says what it was."""
    for flag, value in (("--step", options.step), ("--samples", options.samples)):
        if value is not None and value < 0:
            raise TrainerError(f"{flag} is {value}", "give a number from 0 up")
    config, folder = resolved(options)
    with opened.needs_torch():
        from trainer.after.deepspeed_import import Place, bring
    done = bring(Path(options.folder), options.tag, config, folder, Place(options.step, options.samples))
    if options.json:
        print(json.dumps(done))
    else:
        print(
            "\n".join(
                f"{name:<11} {value:,}" if type(value) is int else f"{name:<11} {value}" for name, value in done.items()
            )
        )
    print(f"trainer: {done['checkpoint']} is in {folder}; train --run {folder} goes on from it", file=sys.stderr)
    return 0
