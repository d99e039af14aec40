"""What a model asks of a precision: its layers, the region of its forward, its checkpointing, and proof of FP8."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol

from trainer.errors import TrainerError
from trainer.precision.resolved import Resolved

if TYPE_CHECKING:
    import torch
    from torch import nn


class Backend(Protocol):
    """One precision at work. Built once per process, before the model; it knows its device type."""

    name: str  # plain, te, native
    resolved: Resolved
    keep_ends: bool  # the model asks for the first and last block with eligible=False
    parameter_dtype: torch.dtype  # of parameters as built: fp32 masters; an engine may cast

    def linear(self, inputs: int, outputs: int, bias: bool, eligible: bool = True) -> nn.Module:
        """(..., inputs) -> (..., outputs), with parameters `weight` (outputs, inputs) and `bias` (outputs,) or None.

        eligible False: the head, the kept ends: never FP8. Small or oddly shaped layers are not FP8 either.
        """
        ...

    def autocast(self, step: int) -> AbstractContextManager[None]:
        """Around the forward of ONE micro-batch (delayed scaling: a layer runs once in it), backward outside.

        step: optimizer steps before this one; below precision.warmup_steps FP8 is off. Leaving it may be collective.
        """
        ...

    def checkpoint(self, function: Callable[..., Any], *args: Any) -> Any:
        """function(*args), recomputed in the backward in the precision of its forward, with its random state."""
        ...

    def scaler(self) -> torch.amp.GradScaler | None:
        """A gradient scaler for fp16 under DDP (DeepSpeed scales by itself), None otherwise."""
        ...

    def active(self, model: nn.Module) -> int:
        """Layers whose last forward really multiplied in FP8; 0 before warmup_steps and in plain precisions."""
        ...

    def check_active(self, model: nn.Module, step: int) -> int:
        """`active` after the forward of `step`. Raises TrainerError where FP8 should be on and no layer has it."""
        ...

    def statistics(self, model: nn.Module) -> dict[str, float | int]:
        """Scales, amax, underflow and saturation of the last forward and backward; one wait for the device."""
        ...

    def before_save(self, state: dict[str, Any]) -> dict[str, Any]:
        """A state dict without empty `_extra_state`, the rest as tensors that weights_only loading takes."""
        ...

    def after_load(self, state: dict[str, Any]) -> dict[str, Any]:
        """The inverse: what this back end's modules can take of a saved state dict."""
        ...

    def loading(self) -> AbstractContextManager[None]:
        """Around load_state_dict of OUR OWN VERIFIED files: lets Transformer Engine 2.18 unpickle delayed scaling."""
        ...


def build(resolved: Resolved) -> Backend:
    """The back end of a resolved precision. Raises TrainerError where its library is missing or refuses the device."""
    if resolved.backend == "plain":
        from trainer.precision.plain import Plain

        return Plain(resolved)
    if resolved.backend == "native":
        from trainer.precision.native.backend import Native

        return Native(resolved)
    if resolved.backend == "te":
        from trainer.precision.te.backend import TransformerEngine

        return TransformerEngine(resolved)
    raise TrainerError(f"precision back end {resolved.backend!r} is not known", "use plain, te or native")
