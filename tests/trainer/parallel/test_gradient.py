"""Norm and clipping of a gradient in many tensors."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
gradient = pytest.importorskip("trainer.parallel.gradient")

SHAPES = st.lists(st.tuples(st.integers(0, 5), st.integers(1, 5)), min_size=1, max_size=5)


def drawn(shapes, seed: int) -> list:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator) for shape in shapes]


@settings(max_examples=50, deadline=None)
@given(SHAPES, st.integers(0, 99), st.floats(0.01, 10))
def test_clipping_is_that_of_torch(shapes, seed, limit):
    ours = drawn(shapes, seed)
    theirs = [torch.nn.Parameter(torch.zeros_like(tensor)) for tensor in ours]
    for parameter, tensor in zip(theirs, ours, strict=True):
        parameter.grad = tensor.clone()
    expected = float(torch.nn.utils.clip_grad_norm_(theirs, limit))
    norm = float(gradient.squares(ours).sqrt())
    assert norm == pytest.approx(expected, rel=1e-5, abs=1e-9)
    gradient.clip(ours, norm, limit)
    for parameter, tensor in zip(theirs, ours, strict=True):
        assert torch.allclose(parameter.grad, tensor, rtol=1e-5, atol=1e-7)


def test_a_limit_of_zero_clips_nothing():
    tensors = [torch.full((3,), 100.0)]
    gradient.clip(tensors, 173.2, 0.0)
    assert tensors[0].tolist() == [100.0] * 3


def test_one_broken_element_breaks_the_norm():
    for broken in (math.nan, math.inf, -math.inf):
        norm = float(gradient.squares([torch.ones(4), torch.tensor([1.0, broken])]).sqrt())
        assert not gradient.finite(norm)


def test_sixteen_bit_gradients_are_not_summed_in_sixteen_bits():
    many = [torch.full((4096,), 0.01, dtype=torch.bfloat16) for _ in range(64)]
    value = float(many[0][0])
    assert float(gradient.squares(many).sqrt()) == pytest.approx(value * math.sqrt(4096 * 64), rel=1e-4)


def test_no_gradient_has_norm_zero():
    assert float(gradient.squares([])) == 0.0
