"""The Transformer Engine back end: every FP8 recipe, in eager models."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from torch import nn

from trainer.errors import TrainerError
from trainer.precision.machine import numbers
from trainer.precision.plain import Plain
from trainer.precision.resolved import Resolved
from trainer.precision.te import spelling, state, statistics
from trainer.precision.te.layer import layer_class, linear


class TransformerEngine(Plain):
    """bf16 autocast, and te.Linear under TE's own autocast. Weights stay fp32 masters: no quantized_model_init.

    is_first_microbatch is never passed: its cached weights are unstable with delayed scaling (TE #1047).
    """

    name = "te"

    def __init__(self, resolved: Resolved) -> None:
        super().__init__(resolved)
        self.te = spelling.package()
        yes, why = spelling.available(self.te, resolved.name)
        if not yes:
            raise TrainerError(
                f"Transformer Engine refuses {resolved.name} on this device: {why or 'no reason given'}",
                "use precision.name=auto or bf16",
            )
        self.version = numbers(resolved.te)
        self.delayed = resolved.name == "fp8-delayed"
        self._recipe = spelling.recipe(resolved)
        self._layer = layer_class(self.te, resolved.alignment)

    def linear(self, inputs: int, outputs: int, bias: bool, eligible: bool = True) -> nn.Module:
        """See Backend."""
        if not eligible or not self.resolved.takes(inputs, outputs):
            return nn.Linear(inputs, outputs, bias=bias)
        return linear(self._layer, inputs, outputs, bias)

    @contextmanager
    def autocast(self, step: int) -> Iterator[None]:
        """See Backend. Leaving the region reduces amax over all ranks: all must run the same layers."""
        enabled = step >= self.resolved.warmup_steps
        with super().autocast(step), spelling.region(self.te, enabled, self._recipe):
            yield

    def checkpoint(self, function: Callable[..., Any], *args: Any) -> Any:
        """See Backend. TE's own keeps the first forward's scales for the second; all of `function` is recomputed."""
        return self.te.checkpoint(function, *args, use_reentrant=False)

    def active(self, model: nn.Module) -> int:
        """See Backend. A layer sets `fp8` in each forward; delayed scaling must also have seen a value."""
        layers = self._on(model)
        if not layers or not self.delayed:
            return len(layers)
        return int(statistics.histories(layers).ne(0).sum())

    def statistics(self, model: nn.Module) -> dict[str, float | int]:
        """See Backend. Stateless recipes keep no scales: there is a count only."""
        layers = self._on(model)
        scales = statistics.delayed(layers) if layers and self.delayed else {}
        return {"fp8_layers": len(layers), **scales}

    def before_save(self, state_dict: dict[str, Any]) -> dict[str, Any]:
        """See Backend."""
        return state.pack(state_dict)

    def after_load(self, state_dict: dict[str, Any]) -> dict[str, Any]:
        """See Backend."""
        return state.unpack(state_dict, self.delayed, self.version)

    def loading(self) -> AbstractContextManager[None]:
        """See Backend."""
        return state.gate(self.delayed and self.version >= state.GATE_SINCE)

    def _on(self, model: nn.Module) -> list[nn.Module]:
        return [module for module in model.modules() if isinstance(module, self._layer) and module.fp8]
