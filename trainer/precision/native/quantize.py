"""A tensor as FP8 and one scale: e4m3 for inputs and weights, e5m2 for gradients (more range, fewer digits)."""

from __future__ import annotations

import torch
from torch import Tensor

E4M3, E5M2 = torch.float8_e4m3fn, torch.float8_e5m2
LARGEST = {E4M3: 448.0, E5M2: 57344.0}  # torch.finfo(...).max, as constants for the compiler
# A zero tensor stays zero: its scale is finite. Gradients of a mean over 10^7 tokens are well above; the product of
# two inverse scales stays a normal fp32 number.
SMALLEST_AMAX = 1e-24


def quantize(x: Tensor, kind: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """x of any shape and float type -> (row-major FP8 of that shape, fp32 scalar to multiply back with, fp32 amax).

    The scale puts the largest magnitude on the largest FP8 number. Nothing waits for the device; torch.compile makes a
    reduction and one fused pass of it. A NaN or infinity anywhere makes the whole FP8 tensor or its scale NaN or
    infinite: the product is not finite, and the step's guard sees it. (Plain casts differ here: torch versions and
    devices saturate or give NaN.) The clamp is for the last rounding of x * scale only.
    """
    largest = LARGEST[kind]
    amax = torch.linalg.vector_norm(x.detach(), float("inf")).float()
    scale = largest / amax.clamp(min=SMALLEST_AMAX)
    scaled = (x.float() * scale).clamp(-largest, largest)
    return scaled.to(kind).contiguous(), scale.reciprocal(), amax
