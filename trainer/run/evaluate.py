"""Validation loss, perplexity and bits per byte of a model, by one rank or by all, in training and after it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from trainer.errors import TrainerError

UNWANTED = -100  # a target that counts for nothing (torch's cross_entropy default)
Ids = npt.NDArray[Any]
Region = Callable[[], AbstractContextManager[Any]]


class Pairs(Protocol):
    """Numbered windows: what evaluate reads. ChatWindows of sft is one, SplitPairs another."""

    windows: int
    context: int

    def pair(self, number: int) -> tuple[Ids, Ids]:
        """Inputs and targets of a window, each `context` ids; targets may be UNWANTED."""
        ...


class SplitPairs:
    """A split of prepared data (trainer.data.tokens.Split) as numbered windows."""

    def __init__(self, split: Any, context: int) -> None:
        self.split = split
        self.context = context
        self.windows: int = split.windows
        self.ends = np.cumsum(np.asarray(split.shards, dtype=np.int64))

    def pair(self, number: int) -> tuple[Ids, Ids]:
        """Inputs and targets of the window with this number, counted over all shards."""
        shard = int(np.searchsorted(self.ends, number, side="right"))
        before = int(self.ends[shard - 1]) if shard else 0
        values = np.asarray(self.split.window(shard, number - before)).astype(np.int64)
        return values[:-1], values[1:]


@dataclass
class Evaluation:
    """loss: nats per token; bits_per_byte: all nats of the tokens, those of end-of-text included, over the UTF-8 bytes
    they stand for, so that models with different tokenizers compare; None without token bytes."""

    loss: float
    perplexity: float
    bits_per_byte: float | None
    tokens: int
    bytes: int
    windows: int
    seconds: float
    tokens_per_s: float

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)


def evaluate(
    model: nn.Module,
    pairs: Pairs,
    token_bytes: Ids | None,
    *,
    tokens: int = 0,
    batch: int = 8,
    device: torch.device | str = "cpu",
    world: Any = None,
    autocast: Region | None = None,
) -> Evaluation:
    """The loss over windows spread evenly over `pairs`: all of them, or as many as hold `tokens` tokens.

    model: called as model(inputs, targets) for a sum of cross entropies; batch: windows in one call on one rank;
    world: trainer.parallel.world.World, to share the windows between ranks; None: this process does all.
    autocast: makes the region of one call, for example lambda: backend.autocast(step). Every rank makes equally many
    calls, because with ZeRO-3 each is a collective. The result is the same for any number of ranks and any batch up to
    the order of a float64 sum. Raises TrainerError when there is not one window.
    """
    began = time.monotonic()
    numbers = chosen(pairs.windows, pairs.context, tokens)
    rank, size = (world.rank, world.size) if world is not None else (0, 1)
    totals = torch.zeros(3, dtype=torch.float64)  # nats, tokens, bytes
    was_training = model.training
    model.eval()
    try:
        for inputs, targets in _shares(pairs, numbers, rank, size, batch):
            totals += _measured(model, inputs, targets, token_bytes, device, autocast)
    finally:
        model.train(was_training)
    if size > 1:
        totals = world.sum(totals)
    return _summed(totals, token_bytes is not None, len(numbers), time.monotonic() - began)


def chosen(windows: int, context: int, tokens: int) -> npt.NDArray[np.int64]:
    """Numbers of the windows to look at: evenly spread, so that a part stands for the whole; a pure function."""
    if windows < 1:
        raise TrainerError(
            "the split has not one window", "it is shorter than model.context; prepare more validation data"
        )
    count = windows if tokens <= 0 else max(1, min(windows, math.ceil(tokens / context)))
    return np.arange(count, dtype=np.int64) * windows // count


def _shares(pairs: Pairs, numbers: Ids, rank: int, size: int, batch: int) -> Iterator[tuple[Ids, Ids]]:
    """This rank's batches: as many on every rank and all of one size, filled up with windows that count nothing."""
    batch = min(batch, math.ceil(len(numbers) / size))
    for start in range(0, len(numbers), size * batch):
        places = range(start + rank * batch, start + (rank + 1) * batch)
        rows = [pairs.pair(int(numbers[min(place, len(numbers) - 1)])) for place in places]
        inputs = np.stack([row[0] for row in rows]).astype(np.int64)
        targets = np.stack([row[1] for row in rows]).astype(np.int64)
        targets[[place >= len(numbers) for place in places]] = UNWANTED
        yield inputs, targets


def _measured(
    model: nn.Module,
    inputs: Ids,
    targets: Ids,
    token_bytes: Ids | None,
    device: torch.device | str,
    autocast: Region | None,
) -> Tensor:
    wanted = targets[targets != UNWANTED]
    size = int(token_bytes[wanted].sum(dtype=np.int64)) if token_bytes is not None else 0
    with torch.no_grad(), autocast() if autocast is not None else nullcontext():
        nats = model(torch.from_numpy(inputs).to(device), torch.from_numpy(targets).to(device))
    return torch.tensor([float(nats), float(wanted.size), float(size)], dtype=torch.float64)


def _summed(totals: Tensor, has_bytes: bool, windows: int, seconds: float) -> Evaluation:
    nats, tokens, size = (float(value) for value in totals)
    if not tokens:
        raise TrainerError("no token of this split counts for the loss", "give conversations with assistant turns")
    loss = nats / tokens
    perplexity = math.exp(loss) if loss < 700 else math.inf
    bits = nats / math.log(2) / size if has_bytes and size else None
    rate = tokens / max(seconds, 1e-9)
    return Evaluation(loss, perplexity, bits, int(tokens), int(size), windows, round(seconds, 3), round(rate, 1))
