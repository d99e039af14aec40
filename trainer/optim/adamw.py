"""AdamW in the fastest form this torch has for the device."""

from __future__ import annotations

from typing import Any

import torch

from trainer import config


def adamw(groups: list[dict[str, Any]], optim: config.Optim, device: torch.device) -> torch.optim.AdamW:
    """torch's AdamW: fused (one kernel for all parameters; CUDA, and CPU since torch 2.4), else foreach.

    It keeps the groups' own keys. ZeRO accepts exactly this class, so it is not subclassed.
    """
    options: dict[str, Any] = {"lr": optim.lr, "betas": (optim.beta1, optim.beta2), "eps": optim.eps}
    if device.type in ("cuda", "cpu"):
        try:
            # torch puts defaults into the dicts it is given: copies, so that a second try starts clean
            return torch.optim.AdamW([dict(group) for group in groups], fused=True, **options)
        except RuntimeError:  # no fused kernel for this device or type of parameter
            pass
    return torch.optim.AdamW(groups, foreach=True, **options)
