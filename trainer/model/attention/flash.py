"""flash-attn 3 (Hopper) and 2 (Ampere and later): layout (B, T, heads, head_dim), grouped heads natively."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor

FLASH3_MODULES = ("flash_attn_interface", "flash_attn_3.flash_attn_interface")  # older builds; newer ones


class Flash3:
    """Has no dropout: `choose` refuses it there."""

    def __init__(self, heads: int, kv_heads: int, head_dim: int, dropout: float) -> None:
        self.function = flash3_function()

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, training: bool) -> Tensor:
        """See Core."""
        result = self.function(q, k, v, causal=True, deterministic=torch.are_deterministic_algorithms_enabled())
        return cast(Tensor, result[0] if isinstance(result, tuple) else result)  # early betas give (out, lse)


class Flash2:
    """Dropout inside the kernel."""

    def __init__(self, heads: int, kv_heads: int, head_dim: int, dropout: float) -> None:
        self.function = flash2_function()
        self.dropout = dropout

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, training: bool) -> Tensor:
        """See Core."""
        rate = self.dropout if training else 0.0
        same = torch.are_deterministic_algorithms_enabled()  # the backward pass adds in a fixed order
        return cast(Tensor, self.function(q, k, v, dropout_p=rate, causal=True, deterministic=same))


def flash3_function() -> Callable[..., Any]:
    """The kernel's Python entry. Raises ImportError (or what a broken build raises) when it is not there."""
    problem: ImportError | None = None
    for name in FLASH3_MODULES:
        try:
            return cast(Callable[..., Any], importlib.import_module(name).flash_attn_func)
        except ModuleNotFoundError as error:
            problem = problem or error
        except ImportError as error:  # it is there and does not load: more telling than another name's absence
            problem = error
    raise problem or ModuleNotFoundError(FLASH3_MODULES[0])


def flash2_function() -> Callable[..., Any]:
    """The kernel's Python entry. Raises ImportError when it is not there."""
    return cast(Callable[..., Any], importlib.import_module("flash_attn").flash_attn_func)
