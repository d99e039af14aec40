"""Fine-tuning on conversations: a run like any other, whose windows are conversations and whose loss counts answers.

Conversations are packed: several in one window, each where it fits best among the windows still open, in the order of
the file. They see those before them in the window, as documents do in pretraining. What is left of a window is padding
that counts nothing. Without packing every conversation has a window of its own.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from trainer.after import chat, conversations, source
from trainer.after.chat import Message
from trainer.config import Config
from trainer.data.loader import Loader
from trainer.data.order import Order
from trainer.data.tokenizer import Tokenizer
from trainer.errors import TrainerError
from trainer.parallel.world import World
from trainer.run.evaluate import UNWANTED
from trainer.run.folder import keep_tokenizer

OPEN = 64  # windows that may still take a conversation
NOTE = "sft.json"
Encoded = tuple[list[int], list[bool]]


@dataclass(frozen=True)
class Counted:
    """What became of the conversations. cut: longer than the context; dropped: nothing to learn was left of them."""

    conversations: int
    cut: int
    dropped: int
    tokens: int
    learned: int


class ChatWindows:
    """Windows of `context` inputs and targets; targets are UNWANTED where nothing is learned.

    It is a Readable for trainer.data.loader.Loader and Pairs for trainer.run.evaluate. Raises TrainerError when not
    one token is left to learn.
    """

    def __init__(self, encoded: Sequence[Encoded], context: int, pad: int, pack: bool = True) -> None:
        kept = [(ids[: context + 1], learned[: context + 1]) for ids, learned in encoded]
        useful = [one for one in kept if any(one[1][1:])]
        rows = packed([len(ids) for ids, _ in useful], context + 1) if pack else [[n] for n in range(len(useful))]
        self.context, self.windows = context, len(rows)
        self.shards = (self.windows,)
        self.ids = np.full((self.windows, context + 1), pad, dtype=np.uint32)
        self.learned = np.zeros((self.windows, context + 1), dtype=bool)
        for row, members in enumerate(rows):
            place = 0
            for ids, learned in (useful[member] for member in members):
                self.ids[row, place : place + len(ids)] = ids
                self.learned[row, place : place + len(ids)] = learned
                place += len(ids)
        learned_tokens = int(self.learned[:, 1:].sum())
        cut = sum(len(ids) > context + 1 for ids, _ in encoded)
        tokens = sum(len(ids) for ids, _ in useful)
        self.counted = Counted(len(encoded), cut, len(kept) - len(useful), tokens, learned_tokens)
        if not learned_tokens:
            hint = "raise model.context of the base, or shorten what comes before the answers"
            raise TrainerError(f"no answer begins within the context of {context} tokens", hint)

    def pair(self, number: int) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """Inputs and targets of a window, int64."""
        values = self.ids[number].astype(np.int64)
        return values[:-1], np.where(self.learned[number, 1:], values[1:], UNWANTED)

    def fill(
        self, shards: npt.NDArray[Any], windows: npt.NDArray[Any], inputs: npt.NDArray[Any], targets: npt.NDArray[Any]
    ) -> None:
        """Row i of both gets window windows[i]; there is one shard."""
        inputs[:], targets[:] = self.ids[windows, :-1], self.ids[windows, 1:]
        targets[~self.learned[windows, 1:]] = UNWANTED

    def want(self, now: list[int], after: list[int]) -> None:
        """All is in memory."""


def packed(lengths: Sequence[int], room: int) -> list[list[int]]:
    """Numbers of the pieces in each window of `room` tokens: each in the fullest open window that still takes it."""
    rows: list[list[int]] = []
    free: dict[int, int] = {}  # row -> tokens left
    for number, length in enumerate(lengths):
        fits = [(left, row) for row, left in free.items() if left >= length]
        if fits:
            row = min(fits)[1]
        else:
            row = len(rows)
            rows.append([])
            free[row] = room
        rows[row].append(number)
        free[row] -= length
        if len(free) > OPEN:
            del free[min(free.items(), key=lambda item: (item[1], item[0]))[0]]
    return rows


class ChatSource:
    """ChatWindows in the order that the seed gives them: trainer.run.job.Source."""

    masked = True

    def __init__(self, windows: ChatWindows, identity: str, config: Config, world: World) -> None:
        order = Order(windows.shards, config.train.seed, 1)
        batch, context = config.train.batch, config.model.context
        self.loader = Loader(windows, order, batch, world.rank, world.size, context, config.data.prefetch)
        self.windows, self.identity = windows.windows, identity

    def micro_batches(self, sample: int, micro: int, length: int) -> Iterator[tuple[Tensor, Tensor]]:
        """This rank's inputs and targets of the step that begins at global window `sample`."""
        return self.loader.micro_batches(sample, micro, length)

    def close(self) -> None:
        """Ends reading ahead."""
        self.loader.close()


class Chats:
    """Fine-tuning as trainer.run.job.Work: conversations, the base's weights to begin with, and its tokenizer."""

    def __init__(
        self, base: source.Weights, tokenizer: Tokenizer, data: Path, held_out: Path | None, pack: bool = True
    ) -> None:
        self.base, self.tokenizer = base, tokenizer
        self.frame = chat.template(tokenizer)
        self.token_bytes: npt.NDArray[np.uint16] = tokenizer.token_bytes()
        self.train, sha256 = self._windows(data, pack)
        self.held_out = self._windows(held_out, pack)[0] if held_out else None
        self.data, self.pack = data, pack
        parts = [sha256, base.shape.context, pack, tokenizer.name, chat.facts(self.frame), str(base.facts.get("step"))]
        self.identity = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def source(self, config: Config, world: World) -> ChatSource:
        """See Work."""
        return ChatSource(self.train, self.identity, config, world)

    def validation(self, config: Config) -> ChatWindows | None:
        """The conversations of --val."""
        return self.held_out

    def begin(self, model: nn.Module) -> None:
        """The base's weights; a resumed run replaces them by its own."""
        if self.base.tensors:
            source.put(model, self.base.tensors)

    def describe(self) -> dict[str, Any]:
        """What the data is."""
        return {"kind": "chat", "path": str(self.data), "windows": self.train.windows, **vars(self.train.counted)}

    def close(self) -> None:
        """Nothing reads ahead."""

    def keep(self, folder: Path) -> None:
        """The tokenizer, and sft.json: what the run is fine-tuned from and how a conversation is written."""
        keep_tokenizer(folder, self.tokenizer.save)
        facts = self.base.facts
        content = {
            "base": facts.get("path"),
            "checkpoint": facts.get("checkpoint"),
            "base_step": facts.get("step"),
            "data": str(self.data),
            "packed": self.pack,
            **vars(self.train.counted),
            **chat.facts(self.frame),
        }
        (folder / NOTE).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")

    def _windows(self, path: Path, pack: bool) -> tuple[ChatWindows, str]:
        found, sha256 = conversations.read(path)
        encoded = [self._encoded(one, path, number) for number, one in enumerate(found, 1)]
        eot = self.tokenizer.eot
        pad = eot if eot is not None else self.frame.end[-1]
        return ChatWindows(encoded, self.base.shape.context, pad, pack), sha256

    def _encoded(self, messages: Sequence[Message], path: Path, number: int) -> Encoded:
        try:
            return chat.encode(messages, self.tokenizer, self.frame)
        except TrainerError as error:  # a character outside the alphabet
            raise TrainerError(f"{path}: conversation {number}: {error.what}", error.next_step) from None


def defaults(base: source.Weights, windows: int, epochs: float) -> Config:
    """The configuration of a fine-tuning: the base's model, a rate far below pretraining's, a few epochs.

    The precision is the base's own. Everything can be changed by --set, but the model's shape.
    """
    told = base.facts.get("config")
    config = Config(model=base.shape)
    if told:
        config.precision.name = told["precision"]["name"]
        config.optim.lr = min(1e-4, told["optim"]["lr"] / 3)
    else:
        config.optim.lr = 5e-5
    config.model.dropout = 0.0
    config.optim.name, config.optim.min_lr, config.optim.weight_decay = "adamw", 0.0, 0.0
    config.train.batch = min(16, windows)
    steps_for(config, windows, epochs)
    return config


def steps_for(config: Config, windows: int, epochs: float) -> None:
    """Sets the steps of `epochs` passes at the batch of the config, and what follows from their number."""
    if not 0.0 < epochs < math.inf:
        raise TrainerError(f"--epochs is {epochs}", "give more than 0")
    steps = max(1, math.ceil(epochs * windows / max(1, config.train.batch)))
    config.train.steps = config.optim.decay_steps = steps
    config.optim.warmup = max(1, steps // 30)
    config.checkpoint.every = max(1, steps // 4)
    config.evaluate.every = max(1, steps // 10)
