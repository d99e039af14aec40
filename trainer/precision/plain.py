"""fp32, bf16 by autocast, fp16 by autocast with a gradient scaler; and what every back end shares."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from trainer.errors import CHECK_FAILED, TrainerError
from trainer.precision.resolved import Resolved

EXTRA = "_extra_state"
HALF = {"bf16": torch.bfloat16, "fp16": torch.float16}


class Plain:
    """torch's own layers; autocast casts their inputs and weights, so that parameters stay fp32 masters."""

    name = "plain"
    parameter_dtype = torch.float32

    def __init__(self, resolved: Resolved) -> None:
        self.resolved = resolved
        self.keep_ends = resolved.fp8 and resolved.keep_ends
        # What is not FP8 in an FP8 run is bf16.
        self.dtype = torch.bfloat16 if resolved.fp8 else HALF.get(resolved.name)

    def linear(self, inputs: int, outputs: int, bias: bool, eligible: bool = True) -> nn.Module:
        """See Backend."""
        return nn.Linear(inputs, outputs, bias=bias)

    def autocast(self, step: int) -> AbstractContextManager[None]:
        """See Backend."""
        if self.dtype is None:
            return nullcontext()
        region: AbstractContextManager[None] = torch.autocast(self.resolved.device, dtype=self.dtype)
        return region

    def checkpoint(self, function: Callable[..., Any], *args: Any) -> Any:
        """See Backend."""
        return checkpoint(function, *args, use_reentrant=False)

    def scaler(self) -> torch.amp.GradScaler | None:
        """See Backend."""
        return torch.amp.GradScaler(self.resolved.device) if self.resolved.name == "fp16" else None

    def active(self, model: nn.Module) -> int:
        """See Backend."""
        return 0

    def check_active(self, model: nn.Module, step: int) -> int:
        """See Backend. Under DeepSpeed others have lost FP8 without an error (accelerate #3360): hence this proof."""
        layers = self.active(model)
        if self.resolved.fp8 and layers == 0 and step >= self.resolved.warmup_steps:
            raise TrainerError(
                f"precision {self.resolved.name} was resolved, but no layer multiplied in FP8 in step {step}",
                "check precision.min_dim against the model's width, or use precision.name=bf16",
                CHECK_FAILED,
            )
        return layers

    def statistics(self, model: nn.Module) -> dict[str, float | int]:
        """See Backend."""
        return {}

    def before_save(self, state: dict[str, Any]) -> dict[str, Any]:
        """See Backend."""
        return without_extra(state)

    def after_load(self, state: dict[str, Any]) -> dict[str, Any]:
        """See Backend."""
        return without_extra(state)

    def loading(self) -> AbstractContextManager[None]:
        """See Backend."""
        return nullcontext()


def without_extra(state: dict[str, Any]) -> dict[str, Any]:
    """A state dict without the keys that only Transformer Engine's modules know (TE #458)."""
    return {name: value for name, value in state.items() if not name.endswith(EXTRA)}
