"""`sample`: text from any checkpoint or export."""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import TYPE_CHECKING, Any

from trainer.commands import opened
from trainer.errors import TrainerError

if TYPE_CHECKING:
    from trainer.after.sample import Settings
    from trainer.after.source import Loaded

STORY = r"""Text that goes on from --prompt. One sample is written as it comes; several when all are done.

Temperature 0 always takes the likeliest token. The same seed gives the same text; sample i of seed s is sample 0 of
seed s + i. --stop TEXT ends a sample before TEXT (\n and \t are understood); end-of-text ends it too.
--chat: --prompt is what the user says, or, without --prompt, every line of standard input is, in one conversation.
"""


def register(commands: Any) -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "sample", help="generate text", description=STORY, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    opened.add(parser)
    parser.add_argument("--prompt", metavar="TEXT", help="what the text begins with")
    parser.add_argument("--tokens", type=int, default=100, metavar="N", help="new tokens at most (100)")
    parser.add_argument("--temperature", type=float, default=0.8, metavar="T", help="0: the likeliest token (0.8)")
    parser.add_argument("--top-k", type=int, default=0, metavar="K", help="of the K likeliest tokens; 0: of all")
    parser.add_argument("--top-p", type=float, default=1.0, metavar="P", help="of the likeliest that sum up to P")
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    parser.add_argument("--samples", type=int, default=1, metavar="N", help="so many at once")
    parser.add_argument("--stop", action="append", default=[], metavar="TEXT", help="ends a sample; repeatable")
    parser.add_argument("--chat", action="store_true", help="talk to a model made by `sft`")
    parser.add_argument("--system", metavar="TEXT", help="with --chat: the system turn")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    parser.set_defaults(act=run)


def run(options: argparse.Namespace) -> int:
    """Generates."""
    if options.samples < 1:
        raise TrainerError(f"--samples is {options.samples}", "give at least 1")
    if options.system is not None and not options.chat:
        raise TrainerError("--system needs --chat", "add --chat")
    with opened.needs_torch():
        from trainer.after.sample import Settings
        from trainer.after.source import open_model
    settings = Settings(options.tokens, options.temperature, options.top_k, options.top_p, options.seed)
    settings.check()
    loaded = open_model(options.path, options.checkpoint, options.device, options.dtype)
    if options.chat and not loaded.facts.get("sft"):
        print("trainer: WARNING: this model was not fine-tuned on conversations (see `sft`)", file=sys.stderr)
    if options.chat and options.prompt is None:
        return _talk(loaded, settings, options)
    ids, stops = _prompt(loaded, options)
    texts, rate = _generate(loaded, ids, stops, settings, options, stream=options.samples == 1 and not options.json)
    if options.json:
        samples = [{"text": one.text, "ids": one.ids, "end": one.why} for one in texts]
        told = {"path": options.path, "step": loaded.facts.get("step"), "prompt": options.prompt or ""}
        print(json.dumps({**told, "prompt_tokens": len(ids), "samples": samples, "tokens_per_s": rate}))
    elif options.samples > 1:
        for number, one in enumerate(texts):
            print(f"--- sample {number}")
            print(("" if options.chat else options.prompt or "") + one.text)
    return 0


def _prompt(loaded: Loaded, options: argparse.Namespace) -> tuple[list[int], list[list[int]]]:
    """Ids to begin with, and the sequences of ids that end a sample."""
    tokenizer = loaded.needs_tokenizer()
    eot = [] if tokenizer.eot is None else [[tokenizer.eot]]
    if options.chat:
        from trainer.after import chat

        return chat.prompt(_turns(options, options.prompt), tokenizer, chat.template(tokenizer)), _ends(loaded)
    ids = tokenizer.encode(options.prompt or "")
    if not ids and not eot:
        raise TrainerError("there is no prompt, and this tokenizer has no end-of-text to begin with", "give --prompt")
    return ids or eot[0], eot


def _ends(loaded: Loaded) -> list[list[int]]:
    from trainer.after import chat

    tokenizer = loaded.needs_tokenizer()
    return [*chat.template(tokenizer).stops, *([] if tokenizer.eot is None else [[tokenizer.eot]])]


def _turns(options: argparse.Namespace, said: str) -> list[Any]:
    from trainer.after.chat import Message

    system = [Message("system", options.system)] if options.system is not None else []
    return [*system, Message("user", said)]


def _generate(
    loaded: Loaded,
    ids: list[int],
    stops: list[list[int]],
    settings: Settings,
    options: argparse.Namespace,
    stream: bool,
) -> tuple[list[Any], float]:
    """The texts, and tokens per second of all samples together."""
    from trainer.after.sample import Text, generate, unescaped

    tokenizer, context = loaded.needs_tokenizer(), loaded.shape.context
    if len(ids) > context:
        print(
            f"trainer: WARNING: the prompt has {len(ids)} tokens, the context {context}; its end is used",
            file=sys.stderr,
        )
    texts = [Text(tokenizer, stops, [unescaped(stop) for stop in options.stop]) for _ in range(options.samples)]
    if stream and not options.chat:
        print(options.prompt or "", end="", flush=True)
    began, count = time.monotonic(), 0
    for tokens in generate(loaded.model, loaded.shape, ids, settings, options.samples, tokenizer.vocab):
        for text, token in zip(texts, tokens, strict=True):
            count += not text.why
            piece = text.add(token)
            if stream and piece:
                print(piece, end="", flush=True)
        if all(text.why for text in texts):
            break
    rate = round(count / max(time.monotonic() - began, 1e-9), 1)
    rest = [text.finish() for text in texts]
    if stream:
        print(rest[0], flush=True)
    return texts, rate


def _talk(loaded: Loaded, settings: Settings, options: argparse.Namespace) -> int:
    """A conversation: each line of standard input is a turn of the user."""
    from trainer.after import chat
    from trainer.after.chat import Message

    tokenizer = loaded.needs_tokenizer()
    frame = chat.template(tokenizer)
    turns: list[Message] = _turns(options, "")[:-1]
    options.samples = 1
    for line in sys.stdin:
        if not line.strip():
            continue
        turns.append(Message("user", line.strip()))
        ids = chat.prompt(turns, tokenizer, frame)
        texts, _ = _generate(loaded, ids, _ends(loaded), settings, options, stream=not options.json)
        turns.append(Message("assistant", texts[0].text))
        if options.json:
            print(json.dumps({"user": line.strip(), "assistant": texts[0].text, "end": texts[0].why}), flush=True)
    return 0
