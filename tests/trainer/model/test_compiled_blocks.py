"""Blocks compiled in place: the same losses under the same names, one compilation for all layers."""

from __future__ import annotations

import gc

import pytest

from trainer.config import Model


@pytest.fixture
def compiled(torch, build):
    """A model with compiled blocks, and a clean slate for the compiler before and after."""
    from trainer.model.compiled import compile_blocks

    torch._dynamo.reset()

    def make(shape: Model, compiler: str = "aot_eager", **options):
        model = build(shape, **options)
        compile_blocks(model, backend=compiler)
        return model

    yield make
    torch._dynamo.reset()


def losses(torch, model, batch, steps: int = 3) -> list[float]:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    found = []
    for _ in range(steps):
        loss = model(*batch) / batch[1].numel()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        found.append(loss.item())
    return found


@pytest.mark.parametrize("family", ["gpt2", "llama", "nanochat"])
def test_losses_and_names_stay(torch, build, compiled, tokens, family):
    shape = Model(family=family, layers=2, width=32, context=16, kv_heads=2)
    plain, fast = build(shape), compiled(shape)
    assert list(fast.state_dict()) == list(plain.state_dict())
    assert [name for name, _ in fast.named_parameters()] == [name for name, _ in plain.named_parameters()]
    expected = losses(torch, plain, tokens(shape))
    assert losses(torch, fast, tokens(shape)) == pytest.approx(expected, rel=1e-5)
    assert expected[2] < expected[0]


def test_all_layers_share_one_compilation(torch, compiled, tokens):
    from torch._dynamo.utils import counters

    shape = Model(family="llama", layers=6, width=32, context=16)
    counters.clear()
    compiled(shape)(*tokens(shape)).backward()
    assert counters["stats"]["unique_graphs"] == 2  # the block, the softmax of the head
    assert not counters["graph_break"]


@pytest.mark.parametrize("checkpointing", ["selective", "full"])
def test_checkpointing_works_inside_and_around_compiled_blocks(torch, build, compiled, tokens, checkpointing):
    shape = Model(family="nanochat", layers=2, width=32, context=16)
    fast = compiled(shape, checkpointing=checkpointing)
    expected = losses(torch, build(shape), tokens(shape))
    assert losses(torch, fast, tokens(shape)) == pytest.approx(expected, rel=1e-5)


def test_bf16_autocast_is_compiled_too(torch, build, compiled, tokens):
    shape = Model(family="gpt2", layers=2, width=32, context=16)
    plain, fast = build(shape, spread=0.02), compiled(shape, spread=0.02)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert fast(*tokens(shape)).item() == pytest.approx(plain(*tokens(shape)).item(), rel=1e-3)


def test_every_length_of_a_curriculum_is_compiled_not_run_eagerly(torch, compiled, tokens):
    from torch._dynamo.utils import counters

    shape = Model(family="gpt2", layers=1, width=16, heads=2, context=64)
    model = compiled(shape, compiler="eager")
    counters.clear()
    lengths = range(4, 44, 4)  # more than the eight that dynamo allows by itself
    for length in lengths:
        with torch.no_grad():
            model(*tokens(shape, length=length))
    assert counters["stats"]["unique_graphs"] == 2 * len(lengths)


def test_sampling_does_not_compile_a_version_per_token(torch, compiled, tokens):
    from torch._dynamo.utils import counters

    from trainer.model.cache import KVCache

    shape = Model(family="llama", layers=1, width=16, heads=2, context=16)
    model, kept = compiled(shape), KVCache(shape, batch=2)
    counters.clear()
    with torch.inference_mode():
        for token in tokens(shape)[0].split(1, dim=1):
            model(token, cache=kept)
    assert counters["stats"]["unique_graphs"] == 0


@pytest.mark.slow
@pytest.mark.parametrize("family", ["llama", "nanochat"])
def test_inductor_gives_the_same_losses(torch, build, compiled, tokens, family):
    shape = Model(family=family, layers=2, width=32, context=16, kv_heads=2)
    expected = losses(torch, build(shape), tokens(shape))
    assert losses(torch, compiled(shape, compiler="inductor"), tokens(shape)) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("checkpointing", ["none", "selective"])
def test_blocks_stay_whole_under_distributed_data_parallel(torch, compiled, tokens, checkpointing):
    from torch._dynamo.utils import counters

    shape = Model(family="llama", layers=2, width=64, context=16)
    model = compiled(shape, checkpointing=checkpointing)
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    try:
        whole = torch.nn.parallel.DistributedDataParallel(model, bucket_cap_mb=0.01)
        counters.clear()
        whole(*tokens(shape)).backward()
        # Else its reducer may be the last to hold the group, and joins gloo's threads, which want the GIL it has.
        del whole
        gc.collect()  # a DistributedDataParallel is part of a cycle
    finally:
        torch.distributed.destroy_process_group()
    assert counters["stats"]["unique_graphs"] == 2
    assert not counters["graph_break"]
