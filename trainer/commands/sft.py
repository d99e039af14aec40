"""`sft`: fine-tunes a run or an export on conversations; the result is a run folder like any other."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.commands import opened
from trainer.commands.backup import backup
from trainer.commands.train import rank_count
from trainer.config.check import check
from trainer.config.read import apply_text
from trainer.errors import TrainerError
from trainer.run.stop import StopRequest

if TYPE_CHECKING:
    from trainer.after.sft import Chats
    from trainer.after.source import Weights
    from trainer.config import Config

STORY = """Trains on conversations, from the weights of BASE. The loss counts the assistant's words only.

--data has one conversation a line: {"messages": [{"role": "user", "content": "..."},
{"role": "assistant", "content": "..."}]}; roles are system, user, assistant. A conversation longer than the model's
context is cut. The template is in trainer/after/chat.py; `sample --chat` and an export use the same.
The same command resumes a run that was stopped. Exit codes are those of `train`.
"""
FREE = ("attention", "dropout")  # keys of model that may differ from the base's


def register(commands: Any) -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "sft",
        help="fine-tune on conversations",
        description=STORY,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("path", metavar="BASE", help=opened.WHERE)
    parser.add_argument("--checkpoint", default="latest", metavar="C", help="of the base: latest, best or a step")
    parser.add_argument("--data", required=True, metavar="FILE", help="chat JSONL to train on")
    parser.add_argument("--val", metavar="FILE", help="chat JSONL for the validation loss")
    parser.add_argument("--run", required=True, metavar="DIR", help="run folder to make, or to go on in")
    parser.add_argument("--epochs", type=float, default=2.0, metavar="N", help="passes over the data (2)")
    parser.add_argument("--no-pack", action="store_true", help="one conversation a window")
    parser.add_argument("--set", action="append", default=[], metavar="A.B=C", help="one value; repeatable")
    parser.add_argument("--ranks", default="auto", metavar="N", help="processes on this machine; auto: one per GPU")
    parser.set_defaults(act=run)


def run(options: argparse.Namespace) -> int:
    """Trains; starts one process per rank when there are several and none is started yet."""
    stop = StopRequest()
    stop.install()
    if Path(options.run).resolve() == Path(options.path).resolve():
        raise TrainerError("--run is the base itself", "give another folder for the fine-tuned run")
    with opened.needs_torch():
        from trainer.after import sft
        from trainer.run.loop import train
    base, tokenizer = _base(options)
    held_out = Path(options.val) if options.val else None
    chats = sft.Chats(base, tokenizer, Path(options.data), held_out, not options.no_pack)
    config = configured(options, base, chats)
    ranks = rank_count(options.ranks, config)
    with backup(config, Path(options.run), stop):
        if ranks > 1 and "RANK" not in os.environ:
            from trainer.parallel.launch import launch

            return launch(sys.argv[1:], ranks, asked=lambda: stop.reason)
        if os.environ.get("RANK", "0") == "0":
            _tell(chats)
        return int(train(config, Path(options.run), stop, chats))


def configured(options: argparse.Namespace, base: Weights, chats: Chats) -> Config:
    """The checked configuration: defaults for fine-tuning, then --set; steps follow the epochs unless they are set."""
    from trainer.after import sft

    config = sft.defaults(base, chats.train.windows, options.epochs)
    before = dict(vars(config.model))
    apply_text(config, [one for one in options.set if one.startswith("train.batch")])
    sft.steps_for(config, chats.train.windows, options.epochs)
    if chats.held_out is None:
        config.evaluate.every = 0
    apply_text(config, options.set)
    changed = [name for name, value in vars(config.model).items() if value != before[name] and name not in FREE]
    if changed:
        raise TrainerError(f"model.{changed[0]} is the base's and cannot change", f"free are {', '.join(FREE)}")
    config.data.path = options.data
    check(config)
    return config


def _base(options: argparse.Namespace) -> tuple[Any, Any]:
    from trainer.after import place, source

    found = place.recognise(options.path)
    base = source.read_weights(found, options.checkpoint)
    tokenizer = source.tokenizer_of(found)
    if tokenizer is None:
        raise TrainerError(f"{found.path} has no tokenizer/", "copy it there from the prepared data folder")
    return base, tokenizer


def _tell(chats: Chats) -> None:
    counted = chats.train.counted
    print(
        f"trainer: {counted.conversations} conversations in {chats.train.windows} windows, "
        f"{counted.learned} of {counted.tokens} tokens are learned",
        file=sys.stderr,
    )
    if counted.cut:
        cut = f"{counted.cut} conversations are longer than the context of {chats.train.context} and are cut"
        dropped = f"; {counted.dropped} of them have no answer left and are left out" if counted.dropped else ""
        print(f"trainer: WARNING: {cut}{dropped}", file=sys.stderr)
    if not chats.frame.special:
        print(
            "trainer: WARNING: this tokenizer has no special tokens: turns are marked by plain letters, "
            "which a content can contain",
            file=sys.stderr,
        )
