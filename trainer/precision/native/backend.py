"""The native FP8 back end: fp8-current without Transformer Engine."""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch
from torch import nn

from trainer.errors import TrainerError
from trainer.precision.native.layer import Fp8Linear, Switch
from trainer.precision.native.statistics import statistics
from trainer.precision.plain import Plain
from trainer.precision.resolved import Resolved


class Native(Plain):
    """bf16 autocast, and FP8 in the layers that are worth it."""

    name = "native"

    def __init__(self, resolved: Resolved) -> None:
        super().__init__(resolved)
        self.switch = Switch()
        if not resolved.emulate and not hasattr(torch, "_scaled_mm"):
            raise TrainerError(
                f"torch {torch.__version__} has no FP8 matrix product", "use torch 2.5 or newer, or precision.name=bf16"
            )

    def linear(self, inputs: int, outputs: int, bias: bool, eligible: bool = True) -> nn.Module:
        """See Backend."""
        if not eligible or not self.resolved.takes(inputs, outputs):
            return nn.Linear(inputs, outputs, bias=bias)
        return Fp8Linear(inputs, outputs, bias, self.switch, self.resolved.emulate)

    def autocast(self, step: int) -> AbstractContextManager[None]:
        """See Backend. The switch stays as it is set until the next micro-batch: checkpointed parts run in between."""
        self.switch.on = step >= self.resolved.warmup_steps
        return super().autocast(step)

    def active(self, model: nn.Module) -> int:
        """See Backend."""
        return len(self._active(model))

    def statistics(self, model: nn.Module) -> dict[str, float | int]:
        """See Backend."""
        layers = self._active(model)
        return statistics(layers) if layers else {"fp8_layers": 0}

    def _active(self, model: nn.Module) -> list[Fp8Linear]:
        """The product itself writes amax, so that a layer that was passed by or replaced does not count."""
        if not self.switch.on:
            return []
        layers = [module for module in model.modules() if isinstance(module, Fp8Linear)]
        if not layers:
            return []
        ran = torch.stack([layer.amax[0] for layer in layers]).ne(-1.0).tolist()  # NaN counts: it did multiply
        return [layer for layer, yes in zip(layers, ran, strict=True) if yes]
