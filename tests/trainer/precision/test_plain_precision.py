"""fp32, bf16 autocast, and fp16 with a gradient scaler."""

from __future__ import annotations

import pytest


@pytest.fixture
def backend_of(torch):
    def made(name):
        from trainer.precision.backend import build
        from trainer.precision.resolved import Resolved

        return build(Resolved(name, "plain", "a test", "cpu"))

    return made


@pytest.mark.parametrize(("name", "kind"), [("fp32", "float32"), ("bf16", "bfloat16"), ("fp16", "float16")])
def test_the_forward_computes_in_the_precision_and_masters_stay_fp32(backend_of, torch, name, kind):
    backend = backend_of(name)
    layer = backend.linear(16, 8, True)
    with backend.autocast(0):
        y = layer(torch.randn(4, 16))
    y.float().sum().backward()
    assert y.dtype == getattr(torch, kind)
    assert layer.weight.dtype == layer.weight.grad.dtype == backend.parameter_dtype == torch.float32
    assert backend.active(layer) == 0 == backend.check_active(layer, 5) and backend.statistics(layer) == {}


def test_fp16_skips_a_step_whose_scaled_gradient_overflows(backend_of, torch):
    backend = backend_of("fp16")
    layer, scaler = backend.linear(16, 16, False), backend.scaler()
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    before, start = layer.weight.detach().clone(), scaler.get_scale()

    def step(size):
        optimizer.zero_grad()
        with backend.autocast(0):
            loss = (layer(torch.ones(4, 16)) * size).float().sum()
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()

    step(1.0)  # 65536 * 4 does not fit fp16
    assert torch.equal(layer.weight, before) and scaler.get_scale() < start
    step(1e-3)
    assert not torch.equal(layer.weight, before) and bool(torch.isfinite(layer.weight).all())


@pytest.mark.parametrize("name", ["fp32", "bf16"])
def test_other_precisions_scale_nothing(backend_of, name):
    assert backend_of(name).scaler() is None


def test_a_checkpointed_forward_gives_the_same_gradient(backend_of, torch):
    backend = backend_of("bf16")
    layer, x = backend.linear(16, 16, True), torch.randn(4, 16)
    gradients = []
    for call in (lambda x: layer(x), lambda x: backend.checkpoint(layer, x)):
        layer.zero_grad()
        with backend.autocast(0):
            y = call(x)
        y.float().square().sum().backward()
        gradients.append(layer.weight.grad.clone())
    assert torch.equal(*gradients)


def test_extra_state_of_fp8_modules_is_left_out_both_ways(backend_of, torch):
    backend, state = backend_of("bf16"), {"a.weight": 1, "a._extra_state": 2}
    assert backend.before_save(state) == backend.after_load(state) == {"a.weight": 1}
    with backend.loading():
        pass


def test_an_unknown_back_end_is_refused(torch):
    from trainer.errors import TrainerError
    from trainer.precision.backend import build
    from trainer.precision.resolved import Resolved

    with pytest.raises(TrainerError, match="'apex'"):
        build(Resolved("bf16", "apex", "a test", "cpu"))
