# mypy: allow-subclassing-any
"""A decoder of one of three families (trainer.model.families), built from a config.Model and a precision backend.

Parameter names: tokens.weight, positions.weight (gpt2), blocks.{i}.norm1.*, blocks.{i}.attention.{qkv,out}.*,
blocks.{i}.norm2.*, blocks.{i}.mlp.{up,gate,down}.*, norm.*, head.weight (absent when tied). `qkv` holds the rows of all
query heads, then of the key heads, then of the value heads; all matrices are (outputs, inputs).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from trainer import config
from trainer.errors import TrainerError
from trainer.model.blocks import Block
from trainer.model.families import family_of, sizes_of
from trainer.model.initial import initialise
from trainer.model.loss import Head
from trainer.model.norms import norm, plain_norm
from trainer.model.rope import Rope, Table
from trainer.model.shape import check_length, check_shape

if TYPE_CHECKING:
    from trainer.model.cache import KVCache
    from trainer.precision.backend import Backend

CHECKPOINTING = ("none", "selective", "full")


class GPT(nn.Module):
    """Tokens to the summed loss of their targets, or to logits.

    attention: a name that trainer.model.attention.choose has resolved. checkpointing: none, selective (see
    trainer.model.blocks), full (every block is recomputed from its input). loss_chunk: train.loss_chunk.
    """

    def __init__(
        self,
        shape: config.Model,
        backend: Backend,
        attention: str = "sdpa",
        checkpointing: str = "none",
        loss_chunk: int = 0,
    ) -> None:
        super().__init__()
        check_shape(shape)
        if checkpointing not in CHECKPOINTING:
            known = ", ".join(CHECKPOINTING)
            raise TrainerError(f"train.checkpointing {checkpointing!r} is not known", f"use one of: {known}")
        family, sizes = family_of(shape), sizes_of(shape)
        self.shape, self.backend, self.checkpointing = shape, backend, checkpointing
        self.tokens = nn.Embedding(shape.vocab, shape.width)
        self.positions = None if family.rope else nn.Embedding(shape.context, shape.width)
        self.embedding_norm = plain_norm(family, shape.width) if family.embedding_norm else None
        self.drop = nn.Dropout(shape.dropout) if shape.dropout else nn.Identity()
        selective = checkpointing == "selective"
        self.blocks = nn.ModuleList(
            Block(shape, backend, attention, selective, eligible) for eligible in _eligible(shape.layers, backend)
        )
        self.norm = norm(family, shape.width)
        weight = self.tokens.weight if sizes.tied else nn.Parameter(torch.empty(shape.vocab, shape.width))
        self.head = Head(weight, sizes.tied, family.soft_cap, loss_chunk)
        self.rope = Rope(sizes.head_dim, shape.context, shape.rope_theta, family.rope) if family.rope else None
        initialise(self, shape)

    def forward(
        self,
        tokens: Tensor,
        targets: Tensor | None = None,
        cache: KVCache | None = None,
        last_only: bool = False,
    ) -> Tensor:
        """tokens (B, T) int64. With targets (B, T): the SUM of cross entropies over targets other than -100, in nats,
        an fp32 scalar. Without: logits (B, T, vocab) fp32 (last_only: (B, 1, vocab), of the last position).

        cache: the tokens continue what it holds, and are added to it. Raises TrainerError beyond the context.
        """
        start = 0
        if cache is not None:
            cache.check(tokens.shape[0], tokens.shape[1])
            start = cache.length
        check_length(start + tokens.shape[1], self.shape.context)
        x = self._embed(tokens, start)
        table = self._table(x, start)
        for layer, block in enumerate(self.blocks):
            x = self._through(block, x, table, None if cache is None else cache.slot(layer))
        if cache is not None:
            cache.advance(tokens.shape[1])
        if last_only:
            x = x[:, -1:]
        return cast(Tensor, self.head(self.norm(x), targets))

    def tie(self) -> None:
        """Makes a tied head share the embedding's matrix again."""
        if self.head.tied:
            self.head.weight = self.tokens.weight

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> GPT:
        """Moving off the meta device makes new parameters: a tied pair must stay one."""
        super()._apply(fn, recurse)
        self.tie()
        return self

    def _embed(self, tokens: Tensor, start: int) -> Tensor:
        x = self.tokens(tokens)
        if self.positions is not None:
            x = x + self.positions(torch.arange(start, start + tokens.shape[1], device=tokens.device))
        if _autocast_dtype(x) == torch.bfloat16:
            x = x.to(torch.bfloat16)  # residual stream: half the traffic; fp16 has not the range for it
        if self.embedding_norm is not None:
            x = self.embedding_norm(x)
        return cast(Tensor, self.drop(x))

    def _table(self, x: Tensor, start: int) -> Table | None:
        if self.rope is None:
            return None
        return self.rope.table(start, x.shape[1], x.device, _autocast_dtype(x) or x.dtype)

    def _through(self, block: nn.Module, x: Tensor, table: Table | None, slot: Any) -> Tensor:
        if slot is not None:
            return cast(Tensor, block.forward(x, table, slot))  # not the compiled call: lengths differ at every token
        if self.checkpointing == "full" and torch.is_grad_enabled():
            return cast(Tensor, self.backend.checkpoint(block, x, table))
        return cast(Tensor, block(x, table))


def _autocast_dtype(x: Tensor) -> torch.dtype | None:
    device = x.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None


def _eligible(layers: int, backend: Backend) -> list[bool]:
    """Which blocks may compute in FP8: all, or all but the ends where the backend keeps those."""
    keep = bool(getattr(backend, "keep_ends", False))
    return [not (keep and layer in (0, layers - 1)) for layer in range(layers)]
