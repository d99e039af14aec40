"""What one checkpoint of our format holds, by formula; a test weighs real ones.

fp32 weights and optimizer state whatever the precision and the ZeRO stage: AdamW's exp_avg and exp_avg_sq for every
parameter, 12 bytes each in all; Muon keeps one momentum for the matrices of the blocks, 8 bytes there. Headers,
manifest, generators and scalars come on top.
"""

from __future__ import annotations

from fleet.capacity.count import count
from fleet.capacity.shape import Shape
from profiles.errors import WrongInput

WEIGHT = 4  # bytes
MOMENTS = {"adamw": 8, "muon": 4}  # bytes of a block's matrix
HEADERS = 0.002  # of the tensors, and at most this many bytes: JSON headers, manifest with a hash per file
HEADERS_MOST = 4e6


def checkpoint_bytes(shape: Shape, optimizer: str = "adamw") -> float:
    """Bytes on the disk of one checkpoint that training can go on from. Raises WrongInput for another optimizer."""
    moments = MOMENTS.get(optimizer)
    if moments is None:
        raise WrongInput(f"unknown optimizer `{optimizer}`", f"one of: {', '.join(MOMENTS)}")
    counts = count(shape)
    others = counts.total - counts.matrices
    tensors = counts.matrices * (WEIGHT + moments) + others * (WEIGHT + MOMENTS["adamw"])
    return tensors + min(HEADERS * tensors, HEADERS_MOST)


def weights_bytes(shape: Shape, bytes_each: int = 2) -> float:
    """Bytes of the weights alone: 2 for a bf16 export, 4 for fp32."""
    return float(count(shape).total * bytes_each)


def checkpoint_source(optimizer: str) -> str:
    """Where the number comes from."""
    moments = "exp_avg and exp_avg_sq" if optimizer == "adamw" else "Muon's momentum for matrices, AdamW for the rest"
    return f"fp32 weights + {moments}, as the trainer writes them"
