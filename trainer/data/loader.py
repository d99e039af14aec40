"""Micro-batches of one rank, read ahead by a thread. What it gives is a function of its arguments alone."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainer.config.amounts import divisors
from trainer.data.ahead import Ahead
from trainer.data.order import Numbers, Order
from trainer.errors import TrainerError

DRAWN = 4096  # places drawn from the order at once: a draw costs as much for one as for some hundreds

Pair = tuple[Tensor, Tensor]


class Readable(Protocol):
    """What a loader reads: a Split."""

    @property
    def windows(self) -> int:
        """Windows in it."""

    def fill(self, shards: Numbers, windows: Numbers, inputs: NDArray[Any], targets: NDArray[Any]) -> None:
        """Row i of both gets window windows[i] of shard shards[i]."""

    def want(self, now: list[int], after: list[int]) -> None:
        """These shards are read now, those next; no others for now."""


class Place(NamedTuple):
    """Micro-batch `number` of the step that begins at global window `sample`."""

    sample: int
    micro: int
    length: int
    number: int


class Loader:
    """Of the global windows sample .. sample + batch - 1 of a step, rank r reads those from r * batch / world on.

    batch: windows of `context` tokens in one step over all ranks. prefetch: micro-batches read ahead; 0: no thread.
    pin: page-locked tensors; None: when CUDA is in use. Raises TrainerError for a batch that `world` does not divide
    and for a split smaller than one batch. An error of the reading thread is raised by the iterator.
    """

    def __init__(
        self,
        split: Readable,
        order: Order,
        batch: int,
        rank: int,
        world: int,
        context: int,
        prefetch: int = 4,
        pin: bool | None = None,
    ) -> None:
        check_batch(batch, world)
        if split.windows < batch:
            what = (
                f"the training data holds {split.windows} windows of {context} tokens, less than one batch of {batch}"
            )
            raise TrainerError(what, "lower train.batch or model.context, or give data.path more text")
        self.windows, self.context, self.local = split.windows, context, batch // world
        pinned = torch.cuda.is_available() and torch.cuda.is_initialized() if pin is None else pin
        reader = _Reader(split, order, batch, rank * self.local, self.local, context, pinned)
        self._ahead: Ahead[Place, Pair] = Ahead(reader.read, reader.following, prefetch)
        self._end = weakref.finalize(self, self._ahead.close)  # a loader that is forgotten leaves no thread

    def micro_batches(self, sample: int, micro: int, length: int) -> Iterator[Pair]:
        """(inputs, targets) of this rank's part of the step that begins at global window `sample`, in order.

        Each of batch / world / micro pairs is int64 (micro * context / length, length) on the CPU. The step may reach
        over the end of an epoch. Reading goes on into the next step with the same micro and length.
        """
        check_micro(self.local, micro)
        if length < 1 or self.context % length:
            raise TrainerError(f"{length} does not divide model.context = {self.context}", "choose a length that does")
        return (self._ahead.take(Place(sample, micro, length, number)) for number in range(self.local // micro))

    def epoch(self, sample: int) -> float:
        """How often all the data was read when `sample` windows were."""
        return sample / self.windows

    def close(self) -> None:
        """Ends the thread. An iterator that is used after this raises."""
        self._end()

    def __enter__(self) -> Loader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def check_batch(batch: int, world: int) -> None:
    """Raises TrainerError for a batch that cannot be shared evenly; it names the nearest that can."""
    if batch < 1 or batch % world:
        near = sorted({max(1, batch // world) * world, (batch // world + 1) * world})
        hint = f"set train.batch to {' or '.join(map(str, near))}, or use another number of ranks"
        raise TrainerError(f"train.batch = {batch} does not divide over {world} ranks", hint)


def check_micro(local: int, micro: int) -> None:
    """Raises TrainerError for a micro-batch that does not divide a rank's part; it names the nearest that do."""
    if micro < 1 or local % micro:
        near = sorted(divisors(local), key=lambda number: (abs(number - micro), number))[:2]
        hint = f"set the micro-batch to {' or '.join(map(str, sorted(near)))}"
        raise TrainerError(f"a micro-batch of {micro} does not divide a rank's {local} windows of a step", hint)


def in_order(
    split: Readable, micro: int, context: int, length: int, rank: int = 0, world: int = 1, windows: int = 0
) -> Iterator[Pair]:
    """The first `windows` windows (0: all) of a split once, in their own order, for evaluation.

    Every rank gets the same number of pairs of the same shape as Loader's; what is beyond the end is input 0 with
    target -100, so that ranks that must call a model equally often do.
    """
    counts = np.asarray(getattr(split, "shards", (split.windows,)), dtype=np.int64)
    ends = np.cumsum(counts)
    total = min(windows or split.windows, split.windows)
    for start in range(rank * micro, -(-total // (micro * world)) * micro * world, micro * world):
        numbers = np.arange(start, max(start, min(start + micro, total)), dtype=np.int64)
        shards = np.searchsorted(ends, numbers, side="right").astype(np.int64)
        inputs = torch.zeros((micro, context), dtype=torch.int64)
        targets = torch.full((micro, context), -100, dtype=torch.int64)
        rows = slice(0, len(numbers))
        split.fill(shards, numbers - (ends - counts)[shards], inputs.numpy()[rows], targets.numpy()[rows])
        yield inputs.view(-1, length), targets.view(-1, length)


class _Reader:
    """Reads micro-batches; knows nothing of threads. `first`: this rank's first window in a step."""

    def __init__(
        self, split: Readable, order: Order, batch: int, first: int, local: int, context: int, pin: bool
    ) -> None:
        self.split, self.order, self.batch, self.first, self.local = split, order, batch, first, local
        self.context, self.pin = context, pin
        self.device = torch.cuda.current_device() if pin else -1
        self._blocks: dict[int, tuple[Numbers, Numbers]] = {}
        self._wanted: tuple[Any, Any] | None = None

    def read(self, place: Place) -> Pair:
        if self.pin:
            torch.cuda.set_device(self.device)  # per thread; without it every rank would also open the first GPU
        start = place.sample + self.first + place.number * place.micro
        self._want(start, place.micro)
        shards, windows = self._places(start, place.micro)
        shape = (place.micro, self.context)
        inputs = torch.empty(shape, dtype=torch.int64, pin_memory=self.pin)
        targets = torch.empty(shape, dtype=torch.int64, pin_memory=self.pin)
        self.split.fill(shards, windows, inputs.numpy(), targets.numpy())
        return inputs.view(-1, place.length), targets.view(-1, place.length)

    def following(self, place: Place) -> Place:
        if (place.number + 1) * place.micro < self.local:
            return place._replace(number=place.number + 1)
        return place._replace(sample=place.sample + self.batch, number=0)

    def _places(self, start: int, count: int) -> tuple[Numbers, Numbers]:
        size = min(DRAWN, self.order.windows)  # a block over many small epochs would cost a table for each
        parts = []
        while count > 0:
            block, skip = divmod(start, size)
            here = min(count, size - skip)
            if block not in self._blocks:
                while len(self._blocks) >= 2:
                    del self._blocks[next(iter(self._blocks))]
                self._blocks[block] = self.order.run(block * size, size)
            parts.append(tuple(row[skip : skip + here] for row in self._blocks[block]))
            start, count = start + here, count - here
        if len(parts) == 1:
            return parts[0][0], parts[0][1]
        return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])

    def _want(self, start: int, count: int) -> None:
        """Says which shards the groups from the first to the last of these windows need, and the group after."""
        group, last = self.order.group_of(start), self.order.group_of(start + count - 1)
        if self._wanted == (group, last):
            return
        self._wanted = (group, last)
        now = self.order.shards_of(*group)
        while group != last:
            group = self.order.after(*group)
            now += [shard for shard in self.order.shards_of(*group) if shard not in now]
        after = [shard for shard in self.order.shards_of(*self.order.after(*last)) if shard not in now]
        self.split.want(now, after)
