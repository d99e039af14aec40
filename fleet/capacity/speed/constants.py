"""The few global constants of the time model: fitted once on published rows by bench/fit_speed.py, none per row.

Each was drawn towards what its kernels are known to do (EXPECTED there), so that parts which the rows cannot tell apart
(a product's bytes, the elementwise work beside it) stay physical.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Constants:
    """Shares are of a named peak or bandwidth; the rest in its own unit."""

    product: float = 0.777  # share of the bf16 peak that endless products reach where power does not limit
    power: float = 0.643  # the same at an H100 SXM's watts per TFLOP/s of peak: under load its clock falls
    product8: float = 0.68  # of the fp8 peak, on the same terms as `power`
    rowwise: float = 0.50  # rate of rowwise-scaled fp8 products, of the tensorwise ones
    flash1_ampere: float = 0.32  # attention on causal FLOPs, of the bf16 peak: FlashAttention of 2022
    flash1_hopper: float = 0.18
    flash2_ampere: float = 0.60  # FlashAttention-2 and its like in PyTorch
    flash2_hopper: float = 0.286
    flash3_hopper: float = 0.46  # FlashAttention-3
    operands: float = 0.71  # times the bytes of a product's operands and result: what is not hidden behind it
    eager: float = 99.0  # bytes per token, layer and element of width + MLP / 4: norms, residuals, activation, casts
    fused: float = 0.29  # of that, compiled
    logits: float = 42.7  # bytes per token and vocabulary entry: softmax, its gradient, casts
    quantise: float = 7.55  # bytes per element quantised to fp8: amax, cast, transposed copy
    recompute: float = 0.18  # of the last product of a block: 0 if recomputation stops before it, as torch's may
    exposed: float = 0.595  # share of the gathering and reducing that never hides
    nvlink: float = 0.80  # of one direction of NVLink
    jitter: float = 0.0064  # of the step, per doubling of the number of nodes: waiting for the slowest


FITTED = Constants()
