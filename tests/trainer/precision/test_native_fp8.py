"""The native FP8 arithmetic against float64, and what torch._scaled_mm is handed."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

ROOM = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def native(torch):
    from trainer.precision.native import layer, quantize

    def linear(inputs, outputs, bias=False, emulate=True):
        switch = layer.Switch()
        switch.on = True
        return layer.Fp8Linear(inputs, outputs, bias, switch, emulate)

    return SimpleNamespace(linear=linear, quantize=quantize.quantize, E4M3=quantize.E4M3, E5M2=quantize.E5M2)


def spread(torch, rows, columns, seed, size, decades):
    """Values over many magnitudes: a normal times ten to a uniform power, and some exact zeros."""
    make = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, columns, generator=make) * 10 ** (-decades * torch.rand(rows, columns, generator=make))
    return x * (torch.rand(rows, columns, generator=make) > 0.05) * size


def rounding(torch, x, kind):
    """The most that quantize may change each element: half a unit in the last place, or half the smallest number."""
    relative, smallest, largest = (2**-4, 2**-9, 448) if kind is torch.float8_e4m3fn else (2**-3, 2**-16, 57344)
    return (relative * x.double().abs() + smallest / 2 * x.double().abs().max() / largest) * (1 + 1e-5)


shapes = st.tuples(st.integers(1, 70), st.integers(1, 5), st.integers(1, 5))
sizes = st.floats(-12, 6).map(lambda power: 10.0**power)


@ROOM
@given(st.integers(0, 2**31), sizes, st.sampled_from(["e4m3", "e5m2"]), st.floats(0, 8))
def test_a_quantized_tensor_is_within_half_a_unit_in_the_last_place(torch, native, seed, size, which, decades):
    kind = native.E4M3 if which == "e4m3" else native.E5M2
    x = spread(torch, 16, 48, seed, size, decades)
    x8, inverse, amax = native.quantize(x, kind)
    assert x8.dtype == kind and float(amax) == float(x.abs().max())
    assert bool(((x8.double() * inverse.double() - x.double()).abs() <= rounding(torch, x, kind)).all())
    assert float(x8.float().abs().max()) == torch.finfo(kind).max, "the largest value uses the whole range"


@ROOM
@given(shapes, st.integers(0, 2**31), sizes, sizes, sizes)
def test_all_three_products_are_within_the_rounding_of_their_operands(torch, native, shape, seed, sx, sw, sg):
    rows, inputs, outputs = shape[0], 16 * shape[1], 16 * shape[2]
    layer = native.linear(inputs, outputs)
    x, g = spread(torch, rows, inputs, seed, sx, 2), spread(torch, rows, outputs, seed + 1, sg, 2)
    with torch.no_grad():
        layer.weight.copy_(spread(torch, outputs, inputs, seed + 2, sw, 2))
    x.requires_grad_()
    y = layer(x)
    y.backward(g)
    w, x = layer.weight.detach(), x.detach()
    for found, (a, b), kinds in (
        (y, (x, w.t()), (native.E4M3, native.E4M3)),
        (_gradient(layer, x, g, torch), (g, w), (native.E5M2, native.E4M3)),
        (layer.weight.grad, (g.t(), x), (native.E5M2, native.E4M3)),
    ):
        da, db = rounding(torch, a, kinds[0]), rounding(torch, b, kinds[1])
        exact = a.double() @ b.double()
        allowed = (a.double().abs() + da) @ db + da @ b.double().abs()
        slack = 1e-5 * (a.double().abs() @ b.double().abs()) + 1e-37
        assert bool(((found.double() - exact).abs() <= allowed + slack).all())


def _gradient(layer, x, g, torch):
    again = x.clone().requires_grad_()
    return torch.autograd.grad(layer(again), again, g)[0]


def test_the_error_is_that_of_fp8_and_no_more(torch, native):
    torch.manual_seed(0)
    layer, x = native.linear(256, 128), torch.randn(64, 256)
    with torch.no_grad():
        exact = torch.nn.functional.linear(x, layer.weight)
        relative = float((layer(x) - exact).norm() / exact.norm())
    assert 0.01 < relative < 0.05, relative


def test_zeros_stay_zeros_with_finite_gradients(torch, native):
    layer = native.linear(32, 16)
    x = torch.zeros(16, 32, requires_grad=True)
    y = layer(x)
    y.backward(torch.zeros_like(y))
    assert float(y.abs().max()) == float(x.grad.abs().max()) == float(layer.weight.grad.abs().max()) == 0.0


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_a_value_that_is_not_finite_is_never_hidden(torch, native, bad):
    layer = native.linear(32, 16)
    x = torch.randn(16, 32)
    x[3, 4] = bad
    assert not bool(torch.isfinite(layer(x)).all())
    y, g = layer(torch.randn(16, 32)), torch.randn(16, 16)
    g[0, 0] = bad
    y.backward(g)
    assert not bool(torch.isfinite(layer.weight.grad).all()), "a gradient that overflowed is seen by the step's guard"


@pytest.mark.parametrize("shape", [(5, 32), (2, 3, 32), (16, 32), (1, 1, 32)])
def test_any_leading_dimensions_are_padded_and_cut_again(torch, native, shape):
    torch.manual_seed(0)
    layer, x = native.linear(32, 48, bias=True), torch.randn(shape, requires_grad=True)
    y = layer(x)
    y.sum().backward()
    assert y.shape == (*shape[:-1], 48) and x.grad.shape == x.shape
    rows = x.detach().reshape(-1, 32)
    padded = layer(torch.cat((rows, torch.zeros(16, 32))))[: rows.shape[0]]
    assert torch.equal(y.reshape(-1, 48), padded)


def test_a_transposed_input_is_laid_out_by_rows(torch, native):
    torch.manual_seed(0)
    layer, x = native.linear(32, 16, emulate=False), torch.randn(32, 48).t()
    assert torch.equal(layer(x), layer(x.contiguous()))


@pytest.mark.parametrize("weights", ["float32", "bfloat16"])
@pytest.mark.parametrize("inputs", ["float32", "bfloat16"])
def test_types_follow_autocast_and_gradients_follow_their_tensors(torch, native, weights, inputs):
    layer = native.linear(32, 16, bias=True).to(getattr(torch, weights))
    x = torch.randn(16, 32, dtype=getattr(torch, inputs), requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = layer(x)
    y.float().sum().backward()
    assert y.dtype == torch.bfloat16
    assert (x.grad.dtype, layer.weight.grad.dtype, layer.bias.grad.dtype) == (x.dtype, *[layer.weight.dtype] * 2)
    assert layer(x).dtype == x.dtype, "without autocast, the input's type"
    assert layer.amax.dtype == torch.float32 if weights == "float32" else True


def test_autocast_does_not_reach_into_the_products(torch, native):
    """It would multiply the emulated operands in bf16, and AOTAutograd would trace the backward so too."""
    torch.manual_seed(0)
    layer, x = native.linear(64, 64), torch.randn(32, 64)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = layer(x)
    assert torch.equal(inside, layer(x).bfloat16())


def scaled_mm_on_cpu(torch):
    a = torch.zeros(16, 16, dtype=torch.float8_e4m3fn)
    try:
        torch._scaled_mm(a, a.t(), scale_a=torch.ones(()), scale_b=torch.ones(()), out_dtype=torch.bfloat16)
    except (RuntimeError, NotImplementedError, AttributeError):
        return False
    return True


@pytest.fixture
def calls(torch, native, monkeypatch):
    """Every call of torch._scaled_mm, checked against what it demands on a GPU."""
    if not scaled_mm_on_cpu(torch):
        pytest.skip("this torch multiplies no FP8 on a CPU")
    seen, real = [], torch._scaled_mm

    def recording(a, b, *, scale_a, scale_b, out_dtype, use_fast_accum):
        assert a.is_contiguous() and b.t().is_contiguous(), "row-major times column-major"
        assert not any(side % 16 for side in (a.shape[1], b.shape[1], b.shape[0]))
        assert scale_a.dtype == scale_b.dtype == torch.float32 and scale_a.numel() == scale_b.numel() == 1
        assert (a.dtype, b.dtype) != (torch.float8_e5m2, torch.float8_e5m2)
        seen.append((a.dtype, b.dtype, out_dtype, use_fast_accum))
        return real(a, b, scale_a=scale_a, scale_b=scale_b, out_dtype=out_dtype, use_fast_accum=use_fast_accum)

    monkeypatch.setattr(torch, "_scaled_mm", recording)
    return seen


@pytest.mark.parametrize("rows", [16, 33])
def test_the_three_products_obey_scaled_mm_s_layout_rules(torch, native, calls, rows):
    layer, x = native.linear(32, 48, emulate=False), torch.randn(rows, 32, requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = layer(x)
    y.float().square().sum().backward()
    e4, e5 = native.E4M3, native.E5M2
    assert calls == [
        (e4, e4, torch.bfloat16, True),
        (e5, e4, torch.float32, False),
        (e5, e4, torch.float32, False),
    ]


def test_emulation_computes_what_scaled_mm_computes(torch, native, calls):
    torch.manual_seed(0)
    real, emulated = native.linear(64, 32, emulate=False), native.linear(64, 32)
    emulated.load_state_dict(real.state_dict())
    x, g = torch.randn(48, 64), torch.randn(48, 32)
    found = []
    for layer in (real, emulated):
        own = x.clone().requires_grad_()
        y = layer(own)
        y.backward(g)
        found.append((y.detach(), own.grad, layer.weight.grad))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)
    assert len(calls) == 3


def test_the_backward_keeps_fp8_copies_only(torch, native):
    kept = []

    def pack(tensor):
        kept.append((tensor.dtype, tensor.numel()))
        return tensor

    layer, x = native.linear(64, 32), torch.randn(48, 64, dtype=torch.bfloat16, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        layer(x)
    large = [dtype for dtype, size in kept if size > 1]
    assert large == [native.E4M3, native.E4M3]


def test_a_gradient_that_nobody_wants_is_not_computed(torch, native, calls):
    layer = native.linear(32, 16, emulate=False)
    layer(torch.randn(16, 32)).sum().backward()
    assert len(calls) == 2, "forward and weight gradient"
    layer.weight.requires_grad_(False)
    layer(torch.randn(16, 32, requires_grad=True)).sum().backward()
    assert len(calls) == 4, "forward and input gradient"


@pytest.mark.parametrize("shape", [(33, 64, 48), (256, 1024, 512)])
def test_a_gpu_computes_what_the_emulation_computes(torch, native, shape):
    if not torch.cuda.is_available() or torch.cuda.get_device_capability() < (8, 9):
        pytest.skip("needs a GPU with FP8")
    rows, inputs, outputs = shape
    torch.manual_seed(0)
    real, emulated = (native.linear(inputs, outputs, emulate=emulate).cuda() for emulate in (False, True))
    emulated.load_state_dict(real.state_dict())
    x, g = torch.randn(rows, inputs, device="cuda"), torch.randn(rows, outputs, device="cuda")
    found = []
    for layer in (real, emulated):
        own = x.clone().requires_grad_()
        with torch.autocast("cuda", dtype=torch.bfloat16):
            y = layer(own)
        y.backward(g.to(y.dtype))
        found.append((y.detach().float(), own.grad, layer.weight.grad))
    for one, other in zip(*found, strict=True):  # fast accumulation keeps about 14 bits of each partial sum
        assert float((one - other).norm() / other.norm()) < 5e-3
