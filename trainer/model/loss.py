# mypy: allow-subclassing-any
"""The head, and cross entropy that never holds the logits of more than a chunk of tokens.

Loss and both gradients of a chunk are computed while its logits are there, in the forward pass: three products, nothing
recomputed. What stays for the backward pass is as large as the hidden states and the head's matrix, whatever the
vocabulary times tokens is.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainer.model.products import accumulate

IGNORED = -100  # a target that counts for nothing
LOGIT_BYTES = 64 * 2**20  # of fp32 logits in an automatic chunk
GPU_TOKENS = 2048  # on a GPU a chunk has at least so many: smaller products leave it idle ...
GPU_LOGIT_BYTES = 2**30  # ... unless their logits pass this

Slope = Callable[[Tensor, Tensor, float, bool], tuple[Tensor, Tensor]]


def chunk_tokens(asked: int, vocab: int, tokens: int, device_type: str) -> int:
    """Tokens whose logits exist at once. asked: train.loss_chunk; -1 all, 0 automatic: 64 MiB of fp32 logits, on a GPU
    at least 2048 tokens as long as that is no more than 1 GiB."""
    if asked < 0:
        return max(tokens, 1)
    if asked > 0:
        return asked
    fits = LOGIT_BYTES // (4 * vocab)
    if device_type != "cpu":
        fits = max(fits, min(GPU_TOKENS, GPU_LOGIT_BYTES // (4 * vocab)))
    return max(fits, 1)


def slope_of(logits: Tensor, targets: Tensor, cap: float, wanted: bool) -> tuple[Tensor, Tensor]:
    """Cross entropy of each row in fp32, and its derivative by the logits in their dtype (empty unless `wanted`).

    logits (n, vocab) before the soft cap, targets (n,) all within the vocabulary. Softmax is fp32. With a cap c,
    z = c tanh(l / c), so dz/dl = 1 - (z / c)^2.
    """
    bent = torch.tanh(logits.float() / cap) if cap else None
    logs = functional.log_softmax(logits if bent is None else bent * cap, dim=-1, dtype=torch.float32)
    rows = targets[:, None]
    picked = logs.gather(1, rows)
    losses = -picked.squeeze(1)
    if not wanted:
        return losses, logits.new_empty(0)
    slope = logs.exp_().scatter_(1, rows, torch.expm1(picked))  # softmax - one-hot
    if bent is not None:
        slope = slope.mul_(1.0 - bent.square_())
    return losses, slope.to(logits.dtype)


class Head(nn.Module):
    """Hidden states to logits, or with targets to the summed loss. Owns its matrix (tied: shares the embedding's), so
    that ZeRO-3 gathers it for this module."""

    def __init__(self, weight: nn.Parameter, tied: bool, cap: float, chunk: int) -> None:
        super().__init__()
        self.weight = weight
        self.tied, self.cap, self.chunk = tied, cap, chunk
        self.slope: Slope = slope_of  # compiled.py puts a compiled one here

    def forward(self, hidden: Tensor, targets: Tensor | None = None) -> Tensor:
        """hidden (B, T, width). Without targets logits (B, T, vocab) fp32, soft cap applied; with targets (B, T) the
        SUM of their cross entropies in nats, an fp32 scalar; targets of -100 count for nothing."""
        if targets is None:
            logits = functional.linear(hidden, self.weight).float()
            return self.cap * torch.tanh(logits / self.cap) if self.cap else logits
        flat = hidden.reshape(-1, hidden.shape[-1])
        chunk = chunk_tokens(self.chunk, self.weight.shape[0], flat.shape[0], flat.device.type)
        wanted = torch.is_grad_enabled()
        loss = _ChunkedLoss.apply(flat, self.weight, targets.reshape(-1), chunk, self.cap, wanted, self.slope)
        return cast(Tensor, loss)

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        """A tied matrix is saved once, as the embedding's."""
        if not self.tied:
            super()._save_to_state_dict(destination, prefix, keep_vars)

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *more: Any) -> None:
        """A tied matrix is loaded with the embedding."""
        if not self.tied:
            super()._load_from_state_dict(state_dict, prefix, *more)


class _ChunkedLoss(torch.autograd.Function):
    """Gradients are made in forward for a derivative of 1 and multiplied by the real one in backward."""

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, chunk: int, cap: float, wanted: bool, slope: Slope
    ) -> Tensor:
        """hidden (n, width), weight (vocab, width), targets (n,) -> scalar."""
        device = hidden.device.type
        mixed = torch.is_autocast_enabled(device)
        dtype = torch.get_autocast_dtype(device) if mixed else hidden.dtype
        wants = (wanted and ctx.needs_input_grad[0], wanted and ctx.needs_input_grad[1])
        with torch.autocast(device, enabled=False) if mixed else contextlib.nullcontext():
            run = _Run(hidden, weight.to(dtype), targets, cap, wants, slope)
            for start in range(0, hidden.shape[0], chunk):
                run.add(start, start + chunk)
        ctx.gradients = (run.hidden_gradient, run.weight_gradient)
        ctx.dtype = weight.dtype
        return run.total

    @staticmethod
    def backward(ctx: Any, derivative: Tensor) -> tuple[Tensor | None, ...]:
        """The kept gradients are scaled in place, so they serve one backward pass."""
        if ctx.gradients is None or torch.is_grad_enabled():  # enabled here only under create_graph
            raise RuntimeError("the chunked loss can be run backwards once and not twice; compute the loss again")
        hidden, weight = ctx.gradients
        ctx.gradients = None
        if hidden is not None:
            hidden = hidden.mul_(derivative)
        if weight is not None:
            weight = weight.mul_(derivative).to(ctx.dtype)
        return hidden, weight, None, None, None, None, None


class _Run:
    """Sums over chunks. A method per chunk, so that one chunk's logits are gone before the next one's exist."""

    def __init__(
        self, hidden: Tensor, matrix: Tensor, targets: Tensor, cap: float, wants: tuple[bool, bool], slope: Slope
    ) -> None:
        self.hidden, self.matrix, self.targets, self.cap, self.slope = hidden, matrix, targets, cap, slope
        self.total = torch.zeros((), dtype=torch.float32, device=hidden.device)
        self.hidden_gradient = torch.empty_like(hidden) if wants[0] else None
        self.weight_gradient: Tensor | None = None  # fp32, from the first chunk on
        self.wants = wants

    def add(self, start: int, end: int) -> None:
        """Tokens start ... end - 1. Ignored rows are zero on the way in, which is far cheaper than masking logits."""
        targets, x = self.targets[start:end], self.hidden[start:end].to(self.matrix.dtype)
        kept = _kept(targets)
        if kept is not None:
            targets, x = targets.clamp(min=0), x * kept
        losses, slope = self.slope(x @ self.matrix.t(), targets, self.cap, any(self.wants))
        self.total += losses.sum() if kept is None else (losses * kept.squeeze(1)).sum()
        if self.hidden_gradient is not None:
            part = slope @ self.matrix
            self.hidden_gradient[start:end] = part if kept is None else part * kept
        if self.wants[1]:
            self.weight_gradient = accumulate(self.weight_gradient, slope, x)


def _kept(targets: Tensor) -> Tensor | None:
    """(n, 1), false for ignored targets; None when none is ignored, which only a CPU can ask without waiting."""
    kept = targets != IGNORED
    return None if targets.device.type == "cpu" and bool(kept.all()) else kept.unsqueeze(1)
