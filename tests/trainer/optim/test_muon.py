"""Muon: its update against the singular value decomposition, its state, and that it learns."""

from __future__ import annotations

import copy
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from trainer.config import Optim

pytest.importorskip("torch")
import torch

from trainer.optim import build
from trainer.optim.groups import parts
from trainer.optim.orthogonal import BAND, COEFFICIENTS, ROUNDS, muon_update, orthogonalise

CPU = torch.device("cpu")


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@settings(max_examples=40, deadline=None)
@given(some.integers(1, 48), some.integers(1, 48), some.integers(0, 2**31), some.floats(-6, 6))
def test_singular_vectors_stay_and_singular_values_become_what_the_polynomial_says(rows, columns, seed, power):
    matrix = random(rows, columns, seed=seed) * 10.0**power
    u, s, v = torch.linalg.svd(matrix.double(), full_matrices=False)
    a, b, c = COEFFICIENTS
    values = s / s.norm().clamp(min=1e-7)
    for _ in range(ROUNDS):
        values = a * values + b * values**3 + c * values**5
    expected = u @ torch.diag(values) @ v
    assert (orthogonalise(matrix).double() - expected).abs().max() < 2e-3  # fp32 rounding, grown by the slope 3.4^5


@settings(max_examples=40, deadline=None)
@given(some.integers(1, 40), some.integers(1, 40), some.integers(0, 2**31))
def test_singular_values_end_in_the_band_around_one(rows, columns, seed):
    # chosen values, from 0.003 of the norm up: a random square matrix has some close to 0
    generator = torch.Generator().manual_seed(seed)
    least = min(rows, columns)
    u = torch.linalg.qr(torch.randn(rows, least, generator=generator, dtype=torch.float64))[0]
    v = torch.linalg.qr(torch.randn(columns, least, generator=generator, dtype=torch.float64))[0]
    values = torch.rand(least, generator=generator, dtype=torch.float64) + 0.02
    result = orthogonalise((u * values) @ v.T)
    found = torch.linalg.svdvals(result.double())
    assert found.min() > BAND[0] - 0.005 and found.max() < BAND[1] + 0.005


def test_bf16_stays_near_the_band():
    # what CUDA computes in, here on the CPU by the same rounds
    x = random(64, 96)
    x = (x / x.norm()).bfloat16()
    a, b, c = COEFFICIENTS
    for _ in range(ROUNDS):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    found = torch.linalg.svdvals(x.double())
    assert BAND[0] - 0.05 < found.min() and found.max() < BAND[1] + 0.05


def test_a_zero_gradient_gives_a_zero_update():
    assert torch.equal(muon_update(torch.zeros(6, 4), [6]), torch.zeros(6, 4))


def test_a_tall_matrix_is_scaled_by_the_root_of_its_shape_and_a_wide_one_is_not():
    tall, wide = random(64, 16), random(16, 64)
    assert torch.allclose(muon_update(tall, [64]), 2.0 * orthogonalise(tall))
    assert torch.equal(muon_update(wide, [16]), orthogonalise(wide))


def test_queries_keys_and_values_are_orthogonalised_each_by_itself():
    rows = parts("blocks.3.attention.qkv.weight", 24 + 2 * 6, 24)
    assert rows == [24, 6, 6] and parts("blocks.3.attention.out.weight", 24, 24) == [24]
    q, k, v = random(24, 24), 100 * random(6, 24, seed=1), 0.01 * random(6, 24, seed=2)
    fused = muon_update(torch.cat([q, k, v]), rows)
    assert torch.equal(fused, torch.cat([muon_update(q, [24]), muon_update(k, [6]), muon_update(v, [6])]))


def test_one_step_is_nesterov_decay_and_the_orthogonal_update():
    start, first, second = random(8, 8), random(8, 8, seed=1), random(8, 8, seed=2)
    parameter = torch.nn.Parameter(start.clone())
    optim = Optim(name="muon", muon_lr=0.1, weight_decay=0.5, muon_momentum=0.9)
    optimizer = build([("blocks.0.mlp.up.weight", parameter)], optim, "ddp", CPU)
    expected, mean = start.double(), torch.zeros(8, 8, dtype=torch.float64)
    for gradient in (first, second):
        parameter.grad = gradient.clone()
        optimizer.step()
        assert torch.equal(parameter.grad, gradient)  # gradients are not the optimizer's to change
        mean = 0.9 * mean + 0.1 * gradient.double()
        direction = 0.1 * gradient.double() + 0.9 * mean
        expected = expected * (1 - 0.1 * 0.5) - 0.1 * orthogonalise(direction.float()).double()
    assert torch.allclose(parameter.double(), expected, atol=1e-5)


def model_and(optim, seed=0):
    """Two layers of a teacher's shape, under names of a block, with biases and a head."""
    torch.manual_seed(seed)
    names = {
        "blocks.0.mlp.up.weight": (32, 16),
        "blocks.0.mlp.up.bias": (32,),
        "blocks.0.mlp.down.weight": (16, 32),
        "head.weight": (4, 16),
    }
    weights = {name: torch.nn.Parameter(torch.randn(shape) / math.sqrt(shape[-1])) for name, shape in names.items()}
    return weights, build(weights.items(), optim, "ddp", CPU)


def loss_of(weights, seed):
    x = random(64, 16, seed=seed)
    teacher = torch.tanh(x @ random(16, 4, seed=99))
    hidden = torch.relu(x @ weights["blocks.0.mlp.up.weight"].T + weights["blocks.0.mlp.up.bias"])
    out = (x + hidden @ weights["blocks.0.mlp.down.weight"].T) @ weights["head.weight"].T
    return (out - teacher).square().mean()


def learn(weights, optimizer, seeds):
    losses = []
    for seed in seeds:
        optimizer.zero_grad(set_to_none=True)
        loss = loss_of(weights, seed)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def test_it_learns_a_small_problem():
    weights, optimizer = model_and(Optim(name="muon", lr=3e-3, weight_decay=0.0))
    losses = learn(weights, optimizer, range(150))
    assert sum(losses[-10:]) / 10 < 0.1 * losses[0]


def test_a_saved_state_goes_on_bit_for_bit(tmp_path):
    optim = Optim(name="muon")
    weights, optimizer = model_and(optim)
    learn(weights, optimizer, range(5))
    torch.save({"weights": dict(weights), "optimizer": optimizer.state_dict()}, tmp_path / "state.pt")
    whole = learn(weights, optimizer, range(5, 12))
    again, fresh = model_and(optim, seed=7)
    stored = torch.load(tmp_path / "state.pt", weights_only=True)
    with torch.no_grad():
        for name, weight in again.items():
            weight.copy_(stored["weights"][name])
    fresh.load_state_dict(stored["optimizer"])
    assert learn(again, fresh, range(5, 12)) == whole
    assert all(torch.equal(again[name], weights[name]) for name in weights)


def test_adamw_inside_is_torchs_own():
    weights, optimizer = model_and(Optim(name="muon"))
    twin = copy.deepcopy(weights["head.weight"])
    plain = build([("head.weight", twin)], Optim(), "ddp", CPU)
    for seed in range(4):
        optimizer.zero_grad()
        loss_of(weights, seed).backward()
        twin.grad = weights["head.weight"].grad.clone()
        optimizer.step()
        plain.step()
    assert torch.equal(twin, weights["head.weight"])


def test_a_parameter_without_a_gradient_stays_as_it_is():
    weights, optimizer = model_and(Optim(name="muon"))
    loss_of(weights, 0).backward()
    weights["blocks.0.mlp.up.weight"].grad = None
    before = weights["blocks.0.mlp.up.weight"].detach().clone()
    optimizer.step()
    assert torch.equal(before, weights["blocks.0.mlp.up.weight"])


def test_a_gradient_scaler_passes_a_broken_step_over_and_applies_a_good_one():
    weights, optimizer = model_and(Optim(name="muon"))
    twin, plain = model_and(Optim(name="muon"))
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    scaler.scale(loss_of(weights, 0)).backward()
    weights["blocks.0.mlp.down.weight"].grad[0, 0] = math.inf
    before = {name: weight.detach().clone() for name, weight in weights.items()}
    scaler.step(optimizer)
    scaler.update()
    assert all(torch.equal(before[name], weight) for name, weight in weights.items())
    assert not optimizer.state and scaler.get_scale() == 512.0
    optimizer.zero_grad()
    scaler.scale(loss_of(weights, 1)).backward()
    scaler.unscale_(optimizer)
    scaler.step(optimizer)
    learn(twin, plain, [1])
    assert all(torch.equal(twin[name], weight) for name, weight in weights.items())
