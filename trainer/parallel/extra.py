"""What a model keeps besides its parameters: persistent buffers, and the FP8 state of its back end."""

from __future__ import annotations

from typing import Any

import torch

from trainer.checkpoint.piece import BUFFER, Stored
from trainer.parallel import weights


def given(model: torch.nn.Module, backend: Any) -> dict[str, torch.Tensor]:
    """CPU clones under canonical names, as the back end wants them saved."""
    known = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    state = {weights.canonical(name): value for name, value in model.state_dict().items() if name not in known}
    kept: dict[str, torch.Tensor] = backend.before_save(state)
    return {name: value.detach().to("cpu", copy=True) for name, value in kept.items()}


def taken(model: torch.nn.Module, backend: Any, stored: Stored) -> None:
    """Puts back what `given` gave, as far as this model and back end know it."""
    # clones: what is loaded may be kept, and a checkpoint's tensors may be its mapped file
    values = {name: stored.read(BUFFER, name).clone().view(shape) for name, shape in stored.names(BUFFER).items()}
    wanted: dict[str, Any] = backend.after_load(values)
    state = {name: wanted[weights.canonical(name)] for name in model.state_dict() if weights.canonical(name) in wanted}
    if state:
        with backend.loading():
            model.load_state_dict(state, strict=False)
