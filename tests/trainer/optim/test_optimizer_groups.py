"""Which parameter is optimized how."""

from __future__ import annotations

import subprocess
import sys

import pytest

from trainer.config import Optim
from trainer.errors import TrainerError
from trainer.optim import build

SHAPES = {
    "tokens.weight": (32, 16),
    "positions.weight": (8, 16),
    "blocks.0.norm1.weight": (16,),
    "blocks.0.attention.qkv.weight": (32, 16),
    "blocks.0.attention.qkv.bias": (32,),
    "blocks.0.attention.out.weight": (16, 16),
    "blocks.0.mlp.up.weight": (64, 16),
    "blocks.0.mlp.down.weight": (16, 64),
    "norm.weight": (16,),
    "head.weight": (32, 16),
}


@pytest.fixture
def parameters(torch):
    return {name: torch.nn.Parameter(torch.zeros(shape)) for name, shape in SHAPES.items()}


def kinds(optimizer, parameters):
    """Kind of group by parameter name; every parameter in exactly one group."""
    names = {id(parameter): name for name, parameter in parameters.items()}
    pairs = [(names[id(one)], group["kind"]) for group in optimizer.param_groups for one in group["params"]]
    assert len(pairs) == len(parameters)
    return dict(pairs)


def test_matrices_and_embeddings_decay_and_vectors_do_not(torch, parameters):
    optimizer = build(parameters.items(), Optim(), "ddp", torch.device("cpu"))
    assert type(optimizer) is torch.optim.AdamW  # ZeRO asks for this very class
    found = kinds(optimizer, parameters)
    assert all(found[name] == ("matrix" if len(shape) == 2 else "vector") for name, shape in SHAPES.items())
    assert {group["kind"]: group["weight_decay"] for group in optimizer.param_groups} == {"matrix": 0.1, "vector": 0.0}
    assert all(group["base_lr"] == group["lr"] == Optim().lr for group in optimizer.param_groups)


def test_muon_takes_the_matrices_of_the_blocks_and_nothing_else(torch, parameters):
    optimizer = build(parameters.items(), Optim(name="muon"), "ddp", torch.device("cpu"))
    found = kinds(optimizer, parameters)
    for name, shape in SHAPES.items():
        hidden = name.startswith("blocks.") and len(shape) == 2
        assert found[name] == ("muon" if hidden else "matrix" if len(shape) == 2 else "vector")
    muon = next(group for group in optimizer.param_groups if group["kind"] == "muon")
    assert muon["base_lr"] == Optim().muon_lr
    assert muon["parts"] == [[16, 8, 8], [16], [64], [16]]  # the fused qkv: queries, keys, values


def test_adamw_is_fused_where_torch_can_and_decays_as_computed_by_hand(torch):
    parameter = torch.nn.Parameter(torch.full((4, 4), 2.0))
    optimizer = build([("a.weight", parameter)], Optim(lr=0.1), "ddp", torch.device("cpu"))
    assert optimizer.param_groups[0]["fused"]
    parameter.grad = torch.zeros(4, 4)
    optimizer.step()
    assert torch.allclose(parameter, torch.full((4, 4), 2.0 * (1 - 0.1 * 0.1)))


def test_adamw_falls_back_where_there_is_no_fused_kernel(torch):
    parameter = torch.nn.Parameter(torch.zeros((4, 4), device="meta"))
    optimizer = build([("a.weight", parameter)], Optim(), "ddp", torch.device("meta"))
    assert optimizer.param_groups[0]["foreach"] and not optimizer.param_groups[0]["fused"]


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_muon_under_zero_is_refused_with_what_works(torch, parameters, stage):
    with pytest.raises(TrainerError) as caught:
        build(parameters.items(), Optim(name="muon"), "deepspeed", torch.device("cpu"), zero=stage)
    assert f"ZeRO stage {stage}" in caught.value.what and "parallel.engine=ddp" in caught.value.next_step


def test_the_package_is_imported_without_torch():
    rooms = "optim, trainer.optim.curriculum, trainer.optim.schedule, trainer.optim.fit, trainer.config.presets"
    code = f"import sys, trainer.{rooms}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(("family", "kv_heads"), [("gpt2", 0), ("llama", 1), ("nanochat", 2)])
def test_a_real_models_matrices_are_all_taken_and_its_qkv_is_cut_where_the_model_cuts_it(torch, family, kv_heads):
    from trainer.config import Model, Precision
    from trainer.model.gpt import GPT
    from trainer.precision import backend, policy

    shape = Model(family=family, layers=2, heads=4, kv_heads=kv_heads, width=32, context=16, vocab=64)
    made = backend.build(policy.resolve(Precision(name="fp32"), policy.look("cpu"), shape, "ddp"))
    model = GPT(shape, made, "sdpa", "none", 0)
    optimizer = build(model.named_parameters(), Optim(name="muon"), "ddp", torch.device("cpu"))
    muon = next(group for group in optimizer.param_groups if group["kind"] == "muon")
    keys = 8 * (kv_heads or 4)
    assert [32, keys, keys] in muon["parts"]
    assert all(sum(parts) == len(matrix) for parts, matrix in zip(muon["parts"], muon["params"], strict=True))
    assert len(muon["params"]) == 2 * (5 if family == "llama" else 4)
    tokens = torch.arange(16).view(1, 16)
    losses = []
    for _ in range(8):
        loss = model(tokens, tokens.roll(-1, 1))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]
