"""The estimate of memory, against what autograd really keeps of the trainer's models, and against its sources."""

from __future__ import annotations

import itertools

import pytest

from trainer.config import Config, Model, Optim, Parallel, Precision, Train
from trainer.optim.footprint import activations, copies, footprint, knobs, logits, one_layer, per_token, state

FAMILIES = ("gpt2", "llama", "nanochat")
WIDTH, LENGTH = 128, 256


def of(family="gpt2", mode="none", precision="bf16", compiled=False, layers=2, **sizes):
    model = Model(family=family, layers=layers, width=WIDTH, heads=4, context=LENGTH, vocab=256, **sizes)
    train = Train(checkpointing=mode, compile=compiled)
    return Config(model=model, train=train, precision=Precision(name=precision))


def saved_bytes(config, batch):
    """Bytes that a forward leaves behind, parameters left out, every storage once."""
    import torch
    from torch.autograd.graph import saved_tensors_hooks

    from trainer.model.compiled import compile_blocks
    from trainer.model.gpt import GPT
    from trainer.precision.plain import Plain
    from trainer.precision.resolved import Resolved

    backend = Plain(Resolved(config.precision.name, "plain", "a test", "cpu"))
    model = GPT(config.model, backend, "sdpa", config.train.checkpointing, 0)
    if config.train.compile:
        compile_blocks(model, backend="aot_eager_decomp_partition")
    own = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    tokens = torch.randint(0, config.model.vocab, (batch, LENGTH))
    seen, alive = {}, []

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            seen[storage.data_ptr()] = storage.nbytes()
            alive.append(tensor)  # or its address is used again
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor), backend.autocast(0):
        model(tokens, tokens)
    return sum(seen.values())


def kept_by_autograd(**more):
    """Per token and layer: a slope in both, so that copies of weights, head and embedding fall out."""
    at = {
        (layers, batch): saved_bytes(of(layers=layers, **more), batch)
        for layers, batch in itertools.product((1, 2), (1, 2))
    }
    return (at[2, 2] - at[2, 1] - at[1, 2] + at[1, 1]) / LENGTH


@pytest.mark.parametrize("precision", ["bf16", "fp32"])
@pytest.mark.parametrize("mode", ["none", "selective", "full"])
@pytest.mark.parametrize("family", FAMILIES)
def test_what_a_layer_keeps_is_what_autograd_keeps(torch, family, mode, precision):
    config = of(family, mode, precision)
    found = kept_by_autograd(family=family, mode=mode, precision=precision)
    assert per_token(config, mode) == pytest.approx(found, rel=0.02)


@pytest.mark.parametrize("family", ["llama", "nanochat"])
def test_grouped_heads_and_another_mlp_width_count(torch, family):
    sizes = {"kv_heads": 2, "ffn": 640}
    assert per_token(of(family, **sizes), "none") == pytest.approx(kept_by_autograd(family=family, **sizes), rel=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["none", "selective"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_compiled_layer_keeps_what_the_partitioner_leaves(torch, family, mode):
    """It weighs recomputing by size, so that narrow models keep a width or two less."""
    found = kept_by_autograd(family=family, mode=mode, compiled=True)
    assert found * 0.98 <= per_token(of(family, mode, compiled=True), mode) <= found * 1.08


def test_the_copies_are_those_that_autocast_makes(torch):
    two, one = (saved_bytes(of(layers=layers), 1) for layers in (2, 1))
    layer = two - one - LENGTH * per_token(of(), "none")
    assert copies(of(layers=1)) == pytest.approx(layer, rel=0.03)
    assert copies(of(precision="fp32")) == 0


@pytest.mark.parametrize("asked", [-1, 0, 100, 10**6])
@pytest.mark.parametrize("vocab", [256, 50304, 2**20])
@pytest.mark.parametrize("micro", [1, 32])
def test_a_chunk_of_logits_is_the_one_that_the_loss_takes_on_a_gpu(torch, asked, vocab, micro):
    from trainer.model.loss import chunk_tokens

    config = Config(model=Model(width=8, heads=1, context=512, vocab=vocab), train=Train(loss_chunk=asked))
    tokens = micro * 512
    chunk = min(tokens, chunk_tokens(asked, vocab, tokens, "cuda"))
    head, hidden = (4 + 2) * vocab * 8, 6 * 8 * tokens
    assert logits(config, micro) == 8 * chunk * vocab + head + hidden


def test_the_formulas_give_the_figures_of_their_sources():
    # Korthikanti et al. 2022, arXiv 2205.05198: 34 bytes per token and width, two of which are masks of dropout
    config = Config(model=Model(layers=10, width=1024, heads=16, context=1000, vocab=1000))
    assert activations(config, 1) == 10 * 1000 * (32 * 1024 + 4 * 16)
    # Rajbhandari et al. 2020, figure 1, 7.5B on 64 GPUs; but gradients summed in fp32, beside the 16-bit one at stage 1
    large = Config(model=Model(family="nanochat", layers=48, width=3584, heads=28, context=1024, vocab=14000))
    parameters = state(large, 64) / 16
    for stage, each in ((1, 2 + 6 + 12 / 64), (2, 2 + 16 / 64), (3, 18 / 64)):
        large.parallel.zero = stage
        assert state(large, 64) == pytest.approx(parameters * each)
    large.precision.name = "fp32"
    assert state(large, 1) == pytest.approx(parameters * 20)


def test_offloaded_gradients_go_with_the_optimizer_from_stage_two_on():
    one = Config(model=Model(family="llama", layers=4, width=256))
    parameters = state(one, 1) / 16
    for stage, offload, each in ((1, "optimizer", 8), (2, "optimizer", 2), (3, "both", 0), (3, "parameters", 16)):
        one.parallel = Parallel(zero=stage, offload=offload)
        assert state(one, 1) == pytest.approx(each * parameters)


def test_the_fuller_moment_counts():
    """A huge vocabulary peaks with its logits; full checkpointing of long windows as a layer is recomputed."""
    loss = Config(model=Model(width=64, layers=2, context=64, vocab=2**20))
    assert footprint(loss, 4, 1)["logits"] == logits(loss, 4)
    layer = Config(
        model=Model(width=1024, heads=8, layers=2, context=8192, vocab=256), train=Train(checkpointing="full")
    )
    assert footprint(layer, 4, 1)["activations"] == activations(layer, 4) + one_layer(layer, 4)
    assert footprint(layer, 4, 1)["copies"] == 0


def test_a_stage_that_saves_nothing_is_not_advised():
    """Stage 3 leaves models below a billion parameters whole, so that beyond stage 2 only offloading helps."""
    small = Config(model=Model(layers=12, width=768, heads=12, context=64), parallel=Parallel(zero=2))
    assert "parallel.offload=optimizer with parallel.zero=2" in knobs(small, 1, 8)[-1]
    big = Config(model=Model(layers=32, width=4096, heads=32, context=64), parallel=Parallel(zero=2))
    assert "parallel.zero=3" in knobs(big, 1, 8)[-1]
    muon = Config(model=small.model, optim=Optim(name="muon"))
    assert state(muon, 1) < state(Config(model=small.model), 1)
