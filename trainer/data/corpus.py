"""A text file as byte tokens, read in shuffled windows. The position in it is a value that a checkpoint keeps."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from trainer.errors import TrainerError

BAKED = Path(__file__).with_name("tales.txt")


@dataclass
class Position:
    """The next window to read: `index` in the shuffled order of `epoch`."""

    epoch: int = 0
    index: int = 0


class Corpus:
    """Windows of context + 1 bytes; each epoch sees every window once, in an order given by seed and epoch alone."""

    def __init__(self, path: str, context: int, vocab: int, seed: int) -> None:
        source = Path(path) if path else BAKED
        try:
            content = source.read_bytes()
        except OSError as error:
            raise TrainerError(
                f"cannot read {source}: {error.strerror}", "give data.path a readable text file"
            ) from None
        self.context = context
        self.seed = seed
        self.windows = (len(content) - 1) // context
        if self.windows < 1:
            need = f"it needs more than model.context = {context}"
            raise TrainerError(f"{source} holds {len(content)} bytes", need)
        if max(content) >= vocab:
            hint = f"model.vocab must be above {max(content)}, or data.path another file"
            raise TrainerError(f"{source} holds the token {max(content)}, model.vocab is {vocab}", hint)
        self.sha256 = hashlib.sha256(content).hexdigest()
        self.tokens = torch.frombuffer(bytearray(content), dtype=torch.uint8)
        self._order: tuple[int, Tensor] | None = None

    def batch(self, position: Position, size: int) -> tuple[Tensor, Tensor]:
        """Inputs and targets (size, context), int64, on the CPU. Moves the position on, over epoch ends as well."""
        starts = [self._take(position) * self.context for _ in range(size)]
        rows = torch.stack([self.tokens[start : start + self.context + 1] for start in starts]).long()
        return rows[:, :-1].contiguous(), rows[:, 1:].contiguous()

    def _take(self, position: Position) -> int:
        if position.index >= self.windows:
            position.epoch, position.index = position.epoch + 1, 0
        window = int(self._shuffled(position.epoch)[position.index])
        position.index += 1
        return window

    def _shuffled(self, epoch: int) -> Tensor:
        if self._order is None or self._order[0] != epoch:
            draw = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
            self._order = (epoch, torch.randperm(self.windows, generator=draw))
        return self._order[1]
