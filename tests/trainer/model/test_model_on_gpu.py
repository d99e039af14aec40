"""On a GPU, in bf16, compiled or not, a model computes what it computes on a CPU in fp32. Skipped without one."""

from __future__ import annotations

import pytest

from trainer.config import Model


@pytest.fixture
def gpu(torch):
    if not torch.cuda.is_available():
        pytest.skip("needs a GPU")
    return "cuda"


def step(torch, model, batch, device: str, half: bool):
    """Loss per token and all gradients of one step, as fp32 on the CPU."""
    inputs, targets = (part.to(device) for part in batch)
    with torch.autocast(device, dtype=torch.bfloat16, enabled=half):
        loss = model(inputs, targets)
    (loss / targets.numel()).backward()
    return loss.item() / targets.numel(), {n: p.grad.float().cpu() for n, p in model.named_parameters()}


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
@pytest.mark.parametrize("checkpointing", ["none", "selective", "full"])
@pytest.mark.parametrize("family", ["gpt2", "llama", "nanochat"])
def test_bf16_on_a_gpu_is_close_to_fp32_on_a_cpu(torch, build, tokens, gpu, family, checkpointing, compiled):
    from trainer.model.attention import choose
    from trainer.model.compiled import compile_blocks

    shape = Model(family=family, layers=2, heads=4, kv_heads=2, width=256, context=128, vocab=1000)
    kernel = choose("auto", gpu, torch.bfloat16, 64, 0.0, True).name
    expected = step(torch, build(shape, spread=0.01), tokens(shape), "cpu", half=False)
    model = build(shape, spread=0.01, attention=kernel, checkpointing=checkpointing, loss_chunk=100).to(gpu)
    if compiled:
        torch._dynamo.reset()
        compile_blocks(model)
    found = step(torch, model, tokens(shape), gpu, half=True)
    assert found[0] == pytest.approx(expected[0], rel=5e-3)
    for name, gradient in expected[1].items():
        cosine = torch.nn.functional.cosine_similarity(gradient.flatten(), found[1][name].flatten(), dim=0)
        assert cosine.item() > 0.98, name


def test_two_hundred_thousand_words_fit_where_their_logits_would_not(torch, build, tokens, gpu):
    shape = Model(family="llama", layers=1, heads=4, width=256, context=2048, vocab=200_000)
    model = build(shape, spread=0.0).to(gpu)
    inputs, targets = (part.to(gpu) for part in tokens(shape, batch=8))
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    with torch.autocast(gpu, dtype=torch.bfloat16):
        model(inputs, targets).backward()
    whole = 4 * inputs.numel() * shape.vocab  # bytes of all fp32 logits: 13 GB
    assert torch.cuda.max_memory_allocated() - before < 0.45 * whole
