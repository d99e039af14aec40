"""PyTorch's scaled_dot_product_attention: everywhere, every dtype."""

from __future__ import annotations

import contextlib
import inspect
import math
from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional


class Sdpa:
    """Causal attention; grouped keys through enable_gqa (PyTorch >= 2.5), repeated where that is missing."""

    def __init__(self, heads: int, kv_heads: int, head_dim: int, dropout: float) -> None:
        self.groups = heads // kv_heads
        self.dropout = dropout
        self.native_groups = torch_has_gqa()
        self.order = _find_order() if torch.cuda.is_available() else None  # not in the call: it cannot be compiled

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, training: bool) -> Tensor:
        """See Core."""
        q, k, v = (part.transpose(1, 2) for part in (q, k, v))
        more: dict[str, Any] = {}
        if self.groups > 1:
            if self.native_groups:
                more["enable_gqa"] = True
            else:
                k, v = k.repeat_interleave(self.groups, dim=1), v.repeat_interleave(self.groups, dim=1)
        rate = self.dropout if training else 0.0
        with self._fastest(q.device, rate):
            y = functional.scaled_dot_product_attention(q, k, v, dropout_p=rate, is_causal=True, **more)
        return cast(Tensor, y.transpose(1, 2))

    def _fastest(self, device: torch.device, dropout: float) -> contextlib.AbstractContextManager[None]:
        """On Hopper and later cuDNN's kernel is the fastest of PyTorch's own; it is not deterministic backwards, so a
        deterministic run keeps PyTorch's order. Around each call, not around the model: a block recomputed in the
        backward pass must meet the same kernel."""
        if self.order is None or device.type != "cuda" or dropout > 0.0:
            return contextlib.nullcontext()
        if torch.are_deterministic_algorithms_enabled():
            return contextlib.nullcontext()
        return self.order()


def attend_cached(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """The last T of S positions look at all S: q (B, T, heads, head_dim), k and v (B, S, kv_heads, head_dim).

    is_causal would count from the first key (top left); here the last query sees the last key (bottom right).
    """
    new, seen = q.shape[1], k.shape[1]
    groups = q.shape[2] // k.shape[2]
    q, k, v = (part.transpose(1, 2) for part in (q, k, v))
    if groups > 1:
        k, v = k.repeat_interleave(groups, dim=1), v.repeat_interleave(groups, dim=1)
    mask = torch.ones(new, seen, dtype=torch.bool, device=q.device).tril(seen - new) if new > 1 else None
    y = functional.scaled_dot_product_attention(q, k.to(q.dtype), v.to(q.dtype), attn_mask=mask)
    return cast(Tensor, y.transpose(1, 2))


def reference(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Plain softmax attention in the layout of Core: what all kernels are checked against."""
    groups = q.shape[2] // k.shape[2]
    k, v = k.repeat_interleave(groups, dim=2), v.repeat_interleave(groups, dim=2)
    scores = torch.einsum("bthd,bshd->bhts", q, k) / math.sqrt(q.shape[3])
    hidden = torch.ones(q.shape[1], k.shape[1], dtype=torch.bool, device=q.device).triu(1)
    return torch.einsum("bhts,bshd->bthd", scores.masked_fill(hidden, -math.inf).softmax(-1), v)


def torch_has_gqa() -> bool:
    """Whether this PyTorch's attention groups heads itself (2.5 and later)."""
    text = functional.scaled_dot_product_attention.__doc__ or ""  # a builtin: it has no signature to inspect
    return "enable_gqa" in text


def _find_order() -> Callable[[], contextlib.AbstractContextManager[None]] | None:
    """cuDNN, then flash, then the rest; None where this PyTorch (before 2.6) cannot rank kernels."""
    from torch.nn.attention import SDPBackend, sdpa_kernel

    if "set_priority" not in inspect.signature(sdpa_kernel).parameters or torch.cuda.get_device_capability() < (9, 0):
        return None
    kernels = [
        SDPBackend.CUDNN_ATTENTION,
        SDPBackend.FLASH_ATTENTION,
        SDPBackend.EFFICIENT_ATTENTION,
        SDPBackend.MATH,
    ]
    return lambda: cast(contextlib.AbstractContextManager[None], sdpa_kernel(kernels, set_priority=True))
