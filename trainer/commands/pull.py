"""`pull`: fetches a checkpoint from a store into a run folder."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from trainer.commands import place
from trainer.commands.moving import Bar, amount, from_0
from trainer.errors import CHECK_FAILED, TrainerError
from trainer.machine import profile as baked
from trainer.run import folder as runs
from trainer.stores.open import open_store
from trainer.sync.fetching import fetched

STORY = """Fetches the newest checkpoint that a store has whole (or --best, or --step N), every byte verified, and the
run's settings, tokenizer and metrics. A newer one that turns out damaged is passed over, loudly. A call that was cut
off goes on where it stopped. `train --run` on that folder then resumes, on any number of GPUs.

--only model leaves the optimizer's state out: for sample, eval and export; training does not resume from it.
Exit codes: 0 it is here, 1 the store has none, 3 the store or the disk failed, 4 the folder holds another run, or
newer checkpoints (--force moves them to RUN/aside).
"""


def register(commands: Any) -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "pull", help="fetch a checkpoint", description=STORY, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("url", metavar="URL", help="file://, ssh://, s3://, gs:// or hf://")
    place.add(parser)
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--step", type=int, metavar="N", help="that of this step")
    which.add_argument("--best", action="store_true", help="that with the lowest validation loss")
    parser.add_argument("--only", choices=("all", "model"), default="all", help="model: no optimizer state (all)")
    parser.add_argument("--missing-ok", action="store_true", help="0, not 1, when the store has none")
    parser.add_argument("--force", action="store_true", help="move what is in the way to RUN/aside")
    parser.add_argument("--rate", type=from_0, default=0.0, metavar="MB/S", help="10^6 bytes a second; 0: no limit")
    parser.add_argument("--stall", type=from_0, default=120.0, metavar="S", help="without a byte: start anew (120)")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    parser.set_defaults(act=run)


def run(options: argparse.Namespace) -> int:
    """Fetches it."""
    if options.step is not None and options.step < 0:
        raise TrainerError(f"--step is {options.step}", "give a step from 0 up; `checkpoints --remote URL` shows them")
    folder = place.run_folder(options, baked.read(options.profile))
    which = "best" if options.best else options.step if options.step is not None else "latest"
    open_store(options.url).close()  # a wrong URL or a missing library is told at once
    bar = Bar(sys.stderr)
    asked = {"which": which, "only": options.only, "force": options.force}
    try:
        with runs.owned(folder):  # no training begins meanwhile
            done = fetched(options.url, folder, asked, options.rate * 1e6, max(1.0, options.stall), bar.heard, bar.say)
    except TrainerError as error:
        if not (options.missing_ok and error.exit_code == CHECK_FAILED):
            raise
        done = None
        bar.say(error.what)
    bar.close()
    if options.json:
        print(json.dumps(done))
    elif done is not None:
        said = (
            "is here already" if done["already"] else f"{amount(done['fetched'])} fetched, {amount(done['kept'])} kept"
        )
        print(f"{done['folder']}: {amount(done['bytes'])}, {said}")
    return 0
