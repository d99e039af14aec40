"""Checkpointing changes what is kept for the backward pass, and nothing else."""

from __future__ import annotations

import dataclasses

import pytest

from trainer.config import Model


def gradients(torch, model, batch):
    model.zero_grad()
    torch.manual_seed(5)  # of the dropout
    loss = model(*batch)
    loss.backward()
    return loss.item(), {name: parameter.grad.clone() for name, parameter in model.named_parameters()}


def kept_bytes(torch, model, batch) -> int:
    """Bytes of the tensors autograd keeps, each storage once; parameters are there anyway."""
    own = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    seen: dict[int, int] = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            seen[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = model(*batch)  # alive until counted: freed storages would share an address
    assert loss.requires_grad
    return sum(seen.values())


@pytest.mark.parametrize("dropout", [0.0, 0.2])
@pytest.mark.parametrize("checkpointing", ["selective", "full"])
def test_loss_and_gradients_stay_the_same(torch, build, tokens, shape, checkpointing, dropout):
    shape = dataclasses.replace(shape, dropout=dropout)
    plain, saving = build(shape), build(shape, checkpointing=checkpointing)
    expected, found = (gradients(torch, model, tokens(shape)) for model in (plain, saving))
    assert found[0] == expected[0]
    for name, gradient in expected[1].items():
        torch.testing.assert_close(found[1][name], gradient, msg=name)
    if dropout:
        other = build(dataclasses.replace(shape, dropout=0.0))
        assert gradients(torch, other, tokens(shape))[0] != expected[0]


@pytest.mark.parametrize("family", ["gpt2", "llama", "nanochat"])
def test_selective_keeps_less_than_none_and_full_least(torch, build, tokens, family):
    shape = Model(family=family, layers=4, width=64, context=64)
    batch = tokens(shape, batch=4)
    none, selective, full = (
        kept_bytes(torch, build(shape, checkpointing=name), batch) for name in ("none", "selective", "full")
    )
    assert full < 0.35 * none
    assert full < selective < 0.8 * none


@pytest.mark.parametrize("family", ["gpt2", "llama", "nanochat"])
def test_selective_repeats_no_matrix_product_and_full_repeats_the_blocks(torch, build, tokens, family):
    from torch.utils.flop_counter import FlopCounterMode

    shape = Model(family=family, layers=2, width=64, context=32)

    def products(checkpointing: str) -> int:
        model = build(shape, checkpointing=checkpointing)
        with FlopCounterMode(display=False) as counter:
            model(*tokens(shape)).backward()
        return sum(n for name, n in counter.get_flop_counts()["Global"].items() if "mm" in str(name))

    assert products("selective") == products("none")
    assert products("full") > 1.15 * products("none")


@pytest.mark.parametrize("checkpointing", ["none", "selective", "full"])
def test_evaluation_recomputes_nothing(torch, build, tokens, backend, monkeypatch, checkpointing):
    shape = Model(family="llama")
    model = build(shape, checkpointing=checkpointing)
    monkeypatch.setattr(type(backend), "checkpoint", lambda *_: pytest.fail("recomputed"))
    with torch.no_grad():
        model.eval()(*tokens(shape))
