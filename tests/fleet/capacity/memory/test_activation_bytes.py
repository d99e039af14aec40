"""What a layer keeps, against what autograd really keeps of the trainer's own models (bytes, not opinions)."""

from __future__ import annotations

import itertools

import pytest

from fleet.capacity.families import of_family
from fleet.capacity.memory import activations
from fleet.capacity.memory.engines import engine_of
from fleet.capacity.setup import Setup
from profiles.gpus import gpu

torch = pytest.importorskip("torch")

FAMILIES = ("gpt2", "llama", "nanochat")
MODES = ("none", "selective", "full")
WIDTH, LENGTH, HEADS, VOCAB = 128, 256, 4, 256


def saved_bytes(family, mode, layers, batch, kv_heads=0, ffn=0, compiled=False):
    """Bytes that a forward under bf16 autocast leaves behind, parameters left out, every storage once."""
    from torch.autograd.graph import saved_tensors_hooks

    from trainer import config
    from trainer.model.compiled import compile_blocks
    from trainer.model.gpt import GPT
    from trainer.precision.plain import Plain
    from trainer.precision.resolved import Resolved

    shape = config.Model(
        family=family, layers=layers, width=WIDTH, heads=HEADS, kv_heads=kv_heads, ffn=ffn, context=LENGTH, vocab=VOCAB
    )
    backend = Plain(Resolved("bf16", "plain", "a test", "cpu"))
    model = GPT(shape, backend, "sdpa", mode, 0)
    if compiled:
        compile_blocks(model, backend="aot_eager_decomp_partition")
    own = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    tokens = torch.randint(0, VOCAB, (batch, LENGTH))
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


def per_token_and_layer(**more):
    """A slope in both, so that weights' copies, head and embedding fall out."""
    at = {
        (layers, batch): saved_bytes(layers=layers, batch=batch, **more)
        for layers, batch in itertools.product((1, 2), (1, 2))
    }
    return (at[2, 2] - at[2, 1] - at[1, 2] + at[1, 1]) / LENGTH


def predicted(family, mode, kv_heads=0, ffn=0, compiled=False):
    shape = of_family(family, 2, WIDTH, HEADS, VOCAB, LENGTH, kv_heads=kv_heads, ffn=ffn)
    setup = Setup(shape, gpu("h100-sxm"), 1, LENGTH, 1, checkpointing=mode, compile=compiled)
    return sum(activations.kept(setup, engine_of(setup)).values())


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("family", FAMILIES)
def test_what_a_layer_keeps_is_what_autograd_keeps(family, mode):
    assert predicted(family, mode) == pytest.approx(per_token_and_layer(family=family, mode=mode), rel=0.02)


@pytest.mark.parametrize("family", ("llama", "nanochat"))
def test_grouped_heads_and_another_mlp_width_count(family):
    sizes = {"kv_heads": 2, "ffn": 640}
    assert predicted(family, "none", **sizes) == pytest.approx(
        per_token_and_layer(family=family, mode="none", **sizes), rel=0.02
    )


@pytest.mark.slow
@pytest.mark.parametrize("mode", ("none", "selective"))
@pytest.mark.parametrize("family", FAMILIES)
def test_what_the_compilers_partitioner_keeps(family, mode):
    """It weighs recomputing by size, so that narrow models keep a width or two less."""
    found = per_token_and_layer(family=family, mode=mode, compiled=True)
    assert found * 0.98 <= predicted(family, mode, compiled=True) <= found * 1.08


def test_copies_of_the_matrices_are_two_bytes_an_element_from_forward_to_backward():
    """What 16-bit autocast adds."""
    from fleet.capacity.memory import states
    from fleet.capacity.memory.stage import stages

    shape = of_family("gpt2", 2, WIDTH, HEADS, VOCAB, LENGTH)
    setup = Setup(shape, gpu("h100-sxm"), 1, LENGTH, 1)
    two, one = (saved_bytes("gpt2", "none", layers, 1) for layers in (2, 1))
    layer = two - one - LENGTH * predicted("gpt2", "none")
    ours = states.copies(setup, engine_of(setup), stages(setup)[0]).bytes / 2
    assert layer == pytest.approx(ours, rel=0.03)


def test_scores_are_kept_only_by_attention_that_is_not_flash():
    shape = of_family("llama", 2, WIDTH, HEADS, VOCAB, LENGTH)
    flash = Setup(shape, gpu("h100-sxm"), 1, 4096, 1)
    math = Setup(shape, gpu("h100-sxm"), 1, 4096, 1, attention="math")
    more = sum(activations.kept(math, engine_of(math)).values()) - sum(
        activations.kept(flash, engine_of(flash)).values()
    )
    assert more == 6 * HEADS * 4096 - 4 * HEADS  # PaLM's 5 a s per token and layer, with an fp32 softmax
