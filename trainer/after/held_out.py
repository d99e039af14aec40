"""What a trained model is evaluated on: the data of its run, another prepared folder or text, or conversations."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer import config
from trainer.after import chat, conversations
from trainer.after.source import Loaded
from trainer.errors import TrainerError
from trainer.run.evaluate import Pairs, SplitPairs
from trainer.run.folder import TOKENIZER

ANY = 1 << 62  # more ids than any tokenizer has


@dataclass(frozen=True)
class HeldOut:
    """Windows to evaluate on, the UTF-8 bytes of each token id (or None), and the name of the data."""

    pairs: Pairs
    token_bytes: Any
    name: str


def held_out(loaded: Loaded, path: str | None, split: str = "val", cache: Path | None = None) -> HeldOut:
    """The data at `path`, or that of the run. Raises TrainerError when it is not there or not of this tokenizer."""
    if path is not None and path.endswith((".jsonl", ".json")):
        return _conversations(loaded, Path(path))
    data = _data(loaded, path)
    from trainer.data.tokens import open_tokens

    own = loaded.tokenizer
    most = loaded.shape.vocab if own is None else ANY  # that the tokenizer is another says more than that it is larger
    tokens = open_tokens(data, loaded.shape.context, most, cache or _cache(loaded))
    if own is not None and (own.kind, own.name) != (tokens.tokenizer.kind, tokens.tokenizer.name):
        what = f"the data was made with the tokenizer {tokens.tokenizer.name}, the model has {own.name}"
        hint = f"prepare the data with the model's: data prepare ... --tokenizer {_tokenizer(loaded)}"
        raise TrainerError(what, hint)
    chosen = tokens.val if split == "val" else tokens.train
    if chosen is None:
        raise TrainerError(f"{data.path or 'the baked text'} has no {split} split", "use --split train")
    return HeldOut(SplitPairs(chosen, loaded.shape.context), tokens.token_bytes, data.path or "the baked text")


def _data(loaded: Loaded, path: str | None) -> config.Data:
    if path is not None:
        return config.Data(path=path)
    if loaded.facts.get("sft"):
        raise TrainerError("this model is fine-tuned on conversations", "give --data CHAT.jsonl, or a prepared folder")
    told = loaded.facts.get("config")
    if not told:
        raise TrainerError("an export without its run's configuration names no data", "give --data PATH")
    return config.Data(**told["data"])


def _tokenizer(loaded: Loaded) -> Path:
    path = Path(loaded.facts["path"])
    return (path.parents[1] if loaded.facts["kind"] == "checkpoint" else path) / TOKENIZER


def _cache(loaded: Loaded) -> Path:
    run = Path(loaded.facts["path"])
    return run / "shards" if loaded.facts["kind"] == "run" else Path(".shards")


def _conversations(loaded: Loaded, path: Path) -> HeldOut:
    from trainer.after.sft import ChatWindows

    tokenizer = loaded.needs_tokenizer()
    frame = chat.template(tokenizer)
    found, _ = conversations.read(path)
    encoded = [chat.encode(one, tokenizer, frame) for one in found]
    return HeldOut(ChatWindows(encoded, loaded.shape.context, frame.end[-1]), tokenizer.token_bytes(), str(path))
