"""Largest values, underflow and saturation of the FP8 layers, from what their last forward and backward left behind."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from trainer.precision.native.layer import Fp8Linear
from trainer.precision.native.quantize import E4M3, E5M2, LARGEST, SMALLEST_AMAX

ROWS = 64  # of each weight


def statistics(layers: Sequence[Fp8Linear]) -> dict[str, float | int]:
    """Over all layers: amax (smallest and largest), and the mean share of sampled nonzero values that became zero
    (underflow) or the largest FP8 number (saturated). One transfer from the device."""
    names: list[str] = []
    values: list[Tensor] = []
    for role, kind in (("input", E4M3), ("weight", E4M3), ("gradient", E5M2)):
        amaxes, samples = _of(layers, role)
        shares = [_shares(sample, amax, kind) for sample, amax in zip(samples, amaxes, strict=True)]
        amax, share = torch.stack(amaxes), torch.stack(shares).mean(0)
        names += [f"fp8_{role}_{what}" for what in ("amax_min", "amax_max", "underflow", "saturated")]
        values += [amax.min(), amax.max(), share[0], share[1]]
    found: list[float] = torch.stack(values).tolist()
    return {"fp8_layers": len(layers), **dict(zip(names, found, strict=True))}


def _of(layers: Sequence[Fp8Linear], role: str) -> tuple[list[Tensor], list[Tensor]]:
    if role == "input":
        return [layer.amax[0] for layer in layers], [layer.inputs for layer in layers]
    if role == "gradient":
        return [layer.amax_gradient for layer in layers], [layer.gradients for layer in layers]
    return [layer.amax[1] for layer in layers], [_rows(layer.weight.detach()) for layer in layers]


def _rows(weight: Tensor) -> Tensor:
    return weight[:: max(1, weight.shape[0] // ROWS)][:ROWS]


def _shares(sample: Tensor, amax: Tensor, kind: torch.dtype) -> Tensor:
    largest = LARGEST[kind]
    values = sample.float()
    rounded = (values * (largest / amax.clamp(min=SMALLEST_AMAX))).clamp(-largest, largest).to(kind).float()
    nonzero = values != 0
    lost = (nonzero & (rounded == 0)).sum()
    full = (nonzero & (rounded.abs() >= largest)).sum()
    return torch.stack((lost, full)).float() / nonzero.sum().clamp(min=1)
