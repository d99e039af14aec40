"""`sync`: sends the checkpoints of a run to a store, once or beside its training."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

from trainer.commands.moving import Bar, from_0
from trainer.errors import TrainerError
from trainer.stores.open import open_store
from trainer.sync import status
from trainer.sync.alive import Life
from trainer.sync.gentle import gentle
from trainer.sync.lock import alone
from trainer.sync.process import Syncing, Wishes
from trainer.sync.prune import Rules

STORY = """Sends what the store at --to lacks of a run: checkpoints, newest first, each with its manifest last, so that
the store never shows half of one; settings, tokenizer and metrics besides. A call that was cut off goes on.

With --every it stays, sends each new checkpoint at once, and waits out a network that fails. RUN/sync.json says how
far it is, RUN/sync.log what happened. --rate holds what this process sends itself; hf:// by Xet sends in blocks of its
own, and HF_HUB_DISABLE_XET=1 makes it hold the rate byte by byte. SIGTERM gives it --grace seconds; SIGUSR1 asks for a
last pass and its end.
Exit codes: 0 all is there, 1 a checkpoint is damaged here, 3 the store failed, 4 the URL holds another run or another
sync is at work, 75 stopped before all was there: the same command goes on.
"""

XET_STALL = 1800.0  # seconds: a whole file, and nothing is heard of it until it is there


def register(commands: Any) -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "sync",
        help="send checkpoints to a store",
        description=STORY,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run", metavar="RUN", help="run folder")
    parser.add_argument("--to", required=True, metavar="URL", help="file://, ssh://, s3://, gs:// or hf://")
    parser.add_argument("--every", type=from_0, metavar="S", help="stay, and look at least every S seconds")
    parser.add_argument("--remote-keep", type=int, default=0, metavar="N", help="newest that stay there; 0: all (0)")
    parser.add_argument("--remote-keep-every", type=int, default=0, metavar="K", help="multiples of K steps stay (0)")
    parser.add_argument("--rate", type=from_0, default=0.0, metavar="MB/S", help="10^6 bytes a second; 0: no limit")
    parser.add_argument("--stall", type=from_0, default=120.0, metavar="S", help="without a byte: start anew (120)")
    parser.add_argument("--grace", type=from_0, default=20.0, metavar="S", help="to finish after SIGTERM (20)")
    parser.add_argument("--parent", type=int, metavar="PID", help="end, after a last pass, when this process has ended")
    parser.add_argument("--adopt", action="store_true", help="send although the URL holds another run")
    story = "RUN went back to step N: drop there what is newer than all of RUN, when one made since has arrived"
    parser.add_argument("--rewound", type=int, metavar="N", help=story)
    parser.add_argument("--until-done", action="store_true", help="without --every: try until all is there")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output at the end")
    parser.set_defaults(act=run)


def run(options: argparse.Namespace) -> int:
    """Syncs; 0 when all is there."""
    folder = Path(options.run)
    if not folder.is_dir():
        raise TrainerError(f"there is no run folder {folder}", "give the folder of `train --run`")
    if options.remote_keep < 0 or options.remote_keep_every < 0:
        raise TrainerError("--remote-keep and --remote-keep-every are numbers from 0 up", "0 keeps all, or none")
    # hf-xet tells nothing while it sends, so that neither a rate nor a stall could be seen; a user's own setting wins
    os.environ.setdefault("HF_HUB_DISABLE_XET", "1")
    open_store(options.to).close()  # a wrong URL or a missing library is told at once
    wishes = wished(options)
    gentle()
    bar = Bar(sys.stderr)

    def heard(news: dict[str, Any]) -> None:
        bar.heard(news, aloud=options.every is None)

    parent = wishes.parent
    with alone(folder, options.to, lambda: parent is not None and not parent.over()):
        syncing = Syncing(folder, options.to, wishes, status.Log(folder, bar.say), heard)
        code = syncing.go()
    bar.close()
    if options.json:
        print(json.dumps(report(syncing, code)))
    elif code and syncing.error is not None and options.every is None:
        raise TrainerError(syncing.error.what or "", syncing.error.next_step, code)
    elif options.every is None:
        print(f"{options.to}: {', '.join(syncing.pushed.there) or 'no checkpoint'}")
    return code


def wished(options: argparse.Namespace) -> Wishes:
    """What the flags say."""
    return Wishes(
        every=options.every,
        stall=max(1.0 if xet_is_off() else XET_STALL, options.stall),
        grace=options.grace,
        rate=options.rate * 1e6,
        parent=None if options.parent is None else Life(options.parent),
        adopt=options.adopt,
        until_done=options.until_done,
        rules=Rules(options.remote_keep, options.remote_keep_every, options.rewound),
    )


def xet_is_off() -> bool:
    """As huggingface_hub reads it (constants.py)."""
    return os.environ["HF_HUB_DISABLE_XET"].upper() in ("1", "ON", "YES", "TRUE")


def report(syncing: Syncing, code: int) -> dict[str, Any]:
    """For machines."""
    error = syncing.error.what if syncing.error is not None else None
    sent = syncing.status.content["sent_bytes"]
    unsent = {"unsent": syncing.unsent(), "error": error, "sent_bytes": sent, "exit_code": code}
    return {"remote": syncing.url, **syncing.pushed.to_json(), **unsent}
