"""The polar factor of a matrix by matrix products alone: what Muon replaces a gradient by."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

# K. Jordan, kellerjordan.github.io/posts/muon: chosen for the steepest rise at 0 among quintics that keep [0, 1] in a
# band around 1. They do not converge to 1: five rounds lift all from 0.002 up into BAND (computed), and stay there.
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
ROUNDS = 5
SMALLEST = 1e-7  # Frobenius norm below which a gradient is noise and is not blown up to full size
BAND = (0.68, 1.21)  # where singular values end that were between 0.002 and 1 of the Frobenius norm


def orthogonalise(matrix: Tensor) -> Tensor:
    """About U V^T of matrix (rows, columns) = U S V^T: same singular vectors, singular values in BAND.

    Newton-Schulz rounds X <- a X + b (X X^T) X + c (X X^T)^2 X on X / |X|, in bf16 on CUDA and fp32 on CPU. Singular
    values under 0.002 of the norm come out smaller than BAND; one of 0 stays 0. Returns the type that it computed in.
    """
    a, b, c = COEFFICIENTS
    working = torch.bfloat16 if matrix.device.type == "cuda" else torch.float32
    x = matrix.float()
    x = (x / torch.linalg.vector_norm(x).clamp(min=SMALLEST)).to(working)
    tall = x.shape[0] > x.shape[1]
    if tall:  # the Gram matrix of the shorter side costs less
        x = x.T
    for _ in range(ROUNDS):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.T if tall else x


def muon_update(direction: Tensor, parts: Sequence[int]) -> Tensor:
    """Each part of `parts` rows orthogonalised by itself and scaled by sqrt(max(1, rows / columns)).

    The scale is that of the algorithm's author (github.com/KellerJordan/Muon; torch.optim.Muon calls it "original"):
    it keeps the root mean square of what a tall map adds to its output near the rate. Moonlight's 0.2 sqrt(max(rows,
    columns)) (arXiv 2502.16982) is another convention and wants another rate.
    """
    updates = [
        orthogonalise(part) * math.sqrt(max(1.0, part.shape[0] / part.shape[1])) for part in direction.split(parts)
    ]
    return updates[0] if len(updates) == 1 else torch.cat(updates)
