"""Keys and values of the tokens already seen, so that sampling computes only the new ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from trainer import config
from trainer.errors import TrainerError
from trainer.model.families import sizes_of

if TYPE_CHECKING:
    from torch import Tensor


class Slot:
    """One block's keys and values: a view into the cache."""

    def __init__(self, keys: Tensor, values: Tensor, start: int) -> None:
        self.keys, self.values, self.start = keys, values, start

    def extend(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Stores (B, T, kv_heads, head_dim) behind what is there; gives back all of it, (B, start + T, ...)."""
        end = self.start + keys.shape[1]
        self.keys[:, self.start : end] = keys
        self.values[:, self.start : end] = values
        return self.keys[:, :end], self.values[:, :end]


class KVCache:
    """Room for `capacity` tokens of `batch` sequences; `length` of them are filled, the same for all sequences.

    Keys are stored after rotation and norm, so nothing is computed twice. Memory:
    2 * layers * batch * capacity * kv_heads * head_dim values.
    """

    def __init__(
        self,
        shape: config.Model,
        batch: int,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        capacity: int = 0,  # tokens; 0: the model's context
    ) -> None:
        sizes = sizes_of(shape)
        self.capacity = min(capacity or shape.context, shape.context)
        room = (shape.layers, 2, batch, self.capacity, sizes.kv_heads, sizes.head_dim)
        self.values = torch.zeros(room, device=device, dtype=dtype)
        self.length = 0

    def slot(self, layer: int) -> Slot:
        """Where block number `layer` keeps its part."""
        return Slot(self.values[layer, 0], self.values[layer, 1], self.length)

    def check(self, batch: int, new: int) -> None:
        """Raises TrainerError when `new` more tokens do not fit, or for another batch than the cache was made for."""
        if self.length + new > self.capacity:
            raise TrainerError(
                f"{self.length} tokens are cached and {new} more do not fit the context of {self.capacity}",
                f"sample at most {self.capacity} tokens, the prompt included",
            )
        if batch != self.values.shape[2]:
            raise TrainerError(f"the cache holds {self.values.shape[2]} sequences, not {batch}", "make a new cache")

    def advance(self, new: int) -> None:
        """Counts `new` tokens as seen; called once per forward, after the last block."""
        self.length += new

    def rewind(self, length: int = 0) -> None:
        """Forgets all but the first `length` tokens."""
        self.length = min(length, self.length)
