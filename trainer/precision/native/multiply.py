# mypy: allow-subclassing-any
"""y = x w^T and its two gradients as three FP8 products.

torch._scaled_mm takes a row-major left and a column-major right operand, both with contraction and columns in
multiples of 16. Forward: x (M, K) and w^T, which is w (N, K) seen transposed: no copy. Input gradient: g (M, N) and w
column-major; weight gradient: g^T row-major and x column-major: three FP8 transposes, one byte an element. Fast
accumulation (fewer mantissa bits in the tensor core's sum) is for the forward only, as in Transformer Engine's recipe.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor

from trainer.precision.native.quantize import E4M3, E5M2, quantize


def multiply(
    a: Tensor, b: Tensor, a_scale: Tensor, b_scale: Tensor, out: torch.dtype, fast: bool, emulate: bool
) -> Tensor:
    """(M, K) row-major FP8 times (K, N) column-major FP8, scaled back, as (M, N) of type `out`.

    emulate: the same rounded operands, multiplied and summed in fp32, for devices without FP8 tensor cores.
    """
    if emulate:
        return ((a.float() @ b.float()) * (a_scale * b_scale)).to(out)
    product = torch._scaled_mm(a, b, scale_a=a_scale, scale_b=b_scale, out_dtype=out, use_fast_accum=fast)
    return cast(Tensor, product)


def column_major(x: Tensor) -> Tensor:
    """The same matrix, stored by columns."""
    return x.t().contiguous().t()


@torch._dynamo.allow_in_graph  # one node for dynamo; AOTAutograd traces forward and backward and fuses the casts
class Fp8Product(torch.autograd.Function):
    """x (M, K), w (N, K) -> (M, N). Saves the FP8 copies: one byte an element where bf16 autocast saves two.

    amax (2,), inputs (S, K), amax_gradient () and gradients (S, N) are written to: what statistics reads later.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        w: Tensor,
        out: torch.dtype,
        emulate: bool,
        amax: Tensor,
        inputs: Tensor,
        amax_gradient: Tensor,
        gradients: Tensor,
    ) -> Tensor:
        """See the class."""
        with as_written(x):
            x8, x_scale, x_amax = quantize(x, E4M3)
            w8, w_scale, w_amax = quantize(w, E4M3)
            amax.copy_(torch.stack((x_amax, w_amax)))
            inputs.copy_(sample(x, inputs.shape[0]))
            ctx.save_for_backward(x8, x_scale, w8, w_scale)
            ctx.types, ctx.emulate, ctx.seen = (x.dtype, w.dtype), emulate, (amax_gradient, gradients)
            return multiply(x8, w8.t(), x_scale, w_scale, out, fast=True, emulate=emulate)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Input and weight gradient in the types of x and w: fp32 masters get an fp32 sum, not a rounded one."""
        x8, x_scale, w8, w_scale = ctx.saved_tensors
        amax_gradient, gradients = ctx.seen
        dx = dw = None
        with as_written(gradient):
            g8, g_scale, g_amax = quantize(gradient, E5M2)
            amax_gradient.copy_(g_amax)
            gradients.copy_(sample(gradient, gradients.shape[0]))
            if ctx.needs_input_grad[0]:
                dx = multiply(g8, column_major(w8), g_scale, w_scale, ctx.types[0], False, ctx.emulate)
            if ctx.needs_input_grad[1]:
                dw = multiply(g8.t().contiguous(), column_major(x8), g_scale, x_scale, ctx.types[1], False, ctx.emulate)
        return dx, dw, None, None, None, None, None, None


def as_written(x: Tensor) -> torch.autocast:
    """Autocast off: it would change the types inside, and AOTAutograd traces even the backward under it."""
    return torch.autocast(x.device.type, enabled=False)


def sample(x: Tensor, rows: int) -> Tensor:
    """Some rows, spread over all: what underflows is counted on these."""
    return x.detach()[:: x.shape[0] // rows][:rows]
