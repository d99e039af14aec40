"""Scales and amax of delayed scaling, per role, from the layers that hold them.

`fp8_meta` belongs to each module. A Linear's forward state has three slots (input, weight, output), its backward state
two (output gradient, input gradient).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

ROLES = (("input", "scaling_fwd", 0), ("weight", "scaling_fwd", 1), ("gradient", "scaling_bwd", 0))


def histories(layers: Sequence[nn.Module]) -> Tensor:
    """The largest forward amax each layer remembers, (layers,)."""
    return torch.stack([layer.fp8_meta["scaling_fwd"].amax_history.max() for layer in layers])


def delayed(layers: Sequence[nn.Module]) -> dict[str, float]:
    """Smallest and largest scale and remembered amax by role; one transfer from the device."""
    names: list[str] = []
    values: list[Tensor] = []
    for role, key, slot in ROLES:
        scale = torch.stack([layer.fp8_meta[key].scale[slot] for layer in layers])
        amax = torch.stack([layer.fp8_meta[key].amax_history[:, slot].max() for layer in layers])
        for what, found in (("scale", scale), ("amax", amax)):
            names += [f"fp8_{role}_{what}_min", f"fp8_{role}_{what}_max"]
            values += [found.min(), found.max()]
    numbers: list[float] = torch.stack(values).float().tolist()
    return dict(zip(names, numbers, strict=True))
