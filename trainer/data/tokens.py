"""Opens the tokens of a run: a prepared folder here or at a provider, or a plain text file read as bytes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from trainer.config import Data
from trainer.data import prepared, tokenizer
from trainer.data.index import sha256_of
from trainer.data.origins import Memory
from trainer.data.patience import Patience
from trainer.data.remote import is_remote
from trainer.data.split import Split, Tokens
from trainer.errors import TrainerError

__all__ = ["Tokens", "open_tokens"]

BAKED = Path(__file__).with_name("tales.txt")
HELD_OUT = 20  # one of so many parts of a text is for validation


def open_tokens(data: Data, context: int, vocab: int, cache: Path, patience: Patience | None = None) -> Tokens:
    """What data.path names: a prepared folder, one at gs://, s3:// or hf://, a text file, or "" for the baked text.

    context: tokens of a window. vocab: rows of the model's embedding. cache: for remote shards and for the stamps of
    verified ones, unless data.cache names a folder; it is made where it can be. patience: with remote servers.

    A text's last 1/20, at least one window, is held out for validation, unless that were more than a quarter of it.

    Raises TrainerError: for what is missing, empty, too short for one window, inconsistent, truncated or altered, and
    for a vocabulary larger than the model's. Shards of more than prepared.EAGER bytes together, and remote ones, are
    only checked for size here, and hashed before they are read for the first time.
    """
    folder = Path(data.cache) if data.cache else cache
    if is_remote(data.path):
        return prepared.open_remote(data, context, vocab, folder, patience or Patience())
    if data.path and Path(data.path).is_dir():
        return prepared.open_local(Path(data.path), context, vocab, folder)
    return _text(Path(data.path) if data.path else BAKED, context, vocab)


def _text(source: Path, context: int, vocab: int) -> Tokens:
    try:
        content = source.read_bytes()
    except OSError as error:
        hint = "give data.path a readable text file or a folder made by `data prepare`"
        raise TrainerError(f"cannot read {source}: {error.strerror}", hint) from None
    if len(content) <= context:
        need = f"it needs more than model.context = {context}"
        raise TrainerError(f"{source} holds {len(content)} bytes", need)
    if max(content) >= vocab:
        hint = f"model.vocab must be above {max(content)}, or data.path another file"
        raise TrainerError(f"{source} holds the token {max(content)}, model.vocab is {vocab}", hint)
    values = np.frombuffer(content, dtype=np.uint8)
    held = max(len(content) // HELD_OUT, context + 1)
    cut = len(content) - (held if 4 * held <= len(content) else 0)
    parts = [("train", values[:cut])] + ([("val", values[cut:])] if cut < len(content) else [])
    splits = [Split(name, Memory([part]), [len(part) - 1], context, 1, len(part)) for name, part in parts]
    return Tokens(
        train=splits[0],
        val=splits[1] if len(splits) > 1 else None,
        vocab=256,
        sha256=sha256_of(content),
        path=str(source),
        token_bytes=np.ones(256, dtype=np.uint16),
        load_tokenizer=lambda: tokenizer.named("bytes"),
    )
