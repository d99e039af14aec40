"""The native back end in models: training, torch.compile, warm-up, checkpointing, statistics, the GPT."""

from __future__ import annotations

import pytest


@pytest.fixture
def build(torch):
    def made(name="fp8-current", layers=2, width=64, **fields):
        from trainer import config
        from trainer.precision.backend import build
        from trainer.precision.policy import Machine, resolve

        asked = config.Precision(name=name, **{"min_dim": 16, **fields})
        shape = config.Model(layers=layers, width=width, heads=4, context=32)
        return build(resolve(asked, Machine("cpu", emulate=True), shape))

    return made


def mlp(backend, torch, checkpointed=False):
    """Two residual blocks, as a transformer's."""

    class Block(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.norm = torch.nn.LayerNorm(64)
            self.up, self.down = backend.linear(64, 256, True), backend.linear(256, 64, False)

        def inner(self, x):
            return self.down(torch.relu(self.up(self.norm(x))))

        def forward(self, x):
            return x + (backend.checkpoint(self.inner, x) if checkpointed else self.inner(x))

    torch.manual_seed(0)
    return torch.nn.Sequential(Block(), Block())


def run(model, backend, torch, step=0, rows=24):
    """Loss and gradients of one fixed micro-batch."""
    model.zero_grad()
    x = torch.randn(rows, 64, generator=torch.Generator().manual_seed(1), requires_grad=True)  # as after an embedding
    with backend.autocast(step):
        loss = model(x).float().square().mean()
    loss.backward()
    return [loss.detach(), *(parameter.grad.clone() for parameter in model.parameters())]


def same(one, other, torch):
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_only_wide_and_aligned_layers_that_may_are_fp8(build):
    from trainer.precision.native.layer import Fp8Linear

    backend = build(min_dim=64)
    assert isinstance(backend.linear(64, 256, True), Fp8Linear)
    for layer in (backend.linear(64, 256, True, False), backend.linear(64, 48, True), backend.linear(64, 100, True)):
        assert not isinstance(layer, Fp8Linear)


def test_a_small_mlp_in_fp8_learns_as_in_bf16(build, torch):
    def train(name):
        backend = build(name)
        model = mlp(backend, torch)
        optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
        make = torch.Generator().manual_seed(2)
        target, losses = torch.randn(64, 64, generator=make) / 8, []
        for step in range(120):
            x = torch.randn(64, 64, generator=make)
            with backend.autocast(step):
                loss = (model(x) - torch.tanh(x @ target) - x).float().square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        return losses

    fp8, bf16 = train("fp8-current"), train("bf16")
    assert bf16[-1] < 0.5 * bf16[0], "it learns at all"
    late = [sum(losses[-20:]) / 20 for losses in (fp8, bf16)]
    assert late[0] == pytest.approx(late[1], rel=0.05) and fp8 != bf16


@pytest.mark.parametrize("checkpointed", [False, True])
def test_a_compiled_block_is_one_graph_with_the_same_bits(build, torch, checkpointed):
    from torch._dynamo.testing import CompileCounterWithBackend

    backend = build(warmup_steps=1)
    eager, compiled = mlp(backend, torch, checkpointed), mlp(backend, torch, checkpointed)
    counter = CompileCounterWithBackend("aot_eager")
    torch._dynamo.reset()
    compiled.compile(backend=counter, fullgraph=True)
    for step in (0, 0, 1, 1, 2, 3):
        assert same(run(eager, backend, torch, step), run(compiled, backend, torch, step), torch)
        assert backend.active(compiled) == (0 if step == 0 else 4)
    assert counter.frame_count == 2, "once in bf16 for the warm-up, once in FP8"
    assert backend.statistics(eager) == backend.statistics(compiled), "written from inside the graph, backward too"


@pytest.mark.parametrize("step", [0, 1])
def test_checkpointing_recomputes_in_the_precision_of_the_forward(build, torch, step):
    backend = build(warmup_steps=1)
    assert same(
        run(mlp(backend, torch), backend, torch, step), run(mlp(backend, torch, True), backend, torch, step), torch
    )


def test_during_the_warm_up_the_result_is_bf16_s(build, torch):
    fp8, plain = build(warmup_steps=5), build("bf16")
    warm, cold = run(mlp(fp8, torch), fp8, torch, 4), run(mlp(plain, torch), plain, torch, 4)
    assert same(warm, cold, torch)
    assert not same(run(mlp(fp8, torch), fp8, torch, 5), cold, torch)


def test_fp8_that_is_not_active_is_an_error_after_the_warm_up(build, torch):
    from trainer.errors import CHECK_FAILED, TrainerError

    backend = build(warmup_steps=1)
    model = mlp(backend, torch)
    run(model, backend, torch, 0)
    assert backend.check_active(model, 0) == 0
    run(model, backend, torch, 1)
    assert backend.check_active(model, 1) == 4
    for block in model:  # as an engine that rebuilds or casts modules would leave it
        block.up, block.down = torch.nn.Linear(64, 256), torch.nn.Linear(256, 64)
    run(model, backend, torch, 1)
    with pytest.raises(TrainerError, match="no layer multiplied in FP8 in step 1") as error:
        backend.check_active(model, 1)
    assert error.value.exit_code == CHECK_FAILED


def test_a_layer_that_did_not_run_does_not_count(build, torch):
    backend = build()
    model = mlp(backend, torch)
    with backend.autocast(0):
        model[0](torch.randn(16, 64))
    assert backend.active(model) == 2
    model.to(torch.float32)
    assert backend.active(model) == 0, "moved: what was seen before says nothing"


def test_statistics_name_the_largest_values_and_what_was_lost(build, torch):
    backend = build()
    layer = backend.linear(64, 64, False)
    assert backend.statistics(layer) == {"fp8_layers": 0}
    x = torch.full((16, 64), 1e-7)
    x[:, ::2] = 1.0  # half of the values lie below 2^-10 / 448 of the largest
    with backend.autocast(0):
        y = layer(x)
    y.backward(torch.full_like(y, 3.0))
    found = backend.statistics(layer)
    assert found["fp8_layers"] == 1
    assert found["fp8_input_amax_min"] == found["fp8_input_amax_max"] == 1.0
    assert found["fp8_input_underflow"] == 0.5 and found["fp8_input_saturated"] == 0.5
    assert found["fp8_weight_amax_max"] == pytest.approx(float(layer.weight.detach().abs().max()))
    assert found["fp8_gradient_amax_max"] == 3.0 and found["fp8_gradient_underflow"] == 0.0
    assert found["fp8_gradient_saturated"] == 1.0


def test_the_state_dict_is_that_of_plain_layers(build, torch):
    fp8, plain = build(), build("bf16")
    one, other = mlp(fp8, torch), mlp(plain, torch)
    run(one, fp8, torch)
    assert list(one.state_dict()) == list(other.state_dict())
    other.load_state_dict(plain.after_load(fp8.before_save(one.state_dict())), strict=True)


def test_it_survives_the_meta_device(build, torch):
    backend = build()
    with torch.device("meta"):
        model = mlp(backend, torch)
    model.to_empty(device="cpu")
    model.load_state_dict(mlp(backend, torch).state_dict())
    assert backend.active(model) == 0
    assert same(run(model, backend, torch), run(mlp(backend, torch), backend, torch), torch)


@pytest.mark.parametrize("family", ["gpt2", "llama", "nanochat"])
@pytest.mark.parametrize("keep_ends", [False, True])
def test_a_gpt_trains_with_fp8_blocks(build, torch, family, keep_ends):
    from trainer import config
    from trainer.model.gpt import GPT

    backend = build(layers=4, keep_ends=keep_ends)
    torch.manual_seed(0)
    model = GPT(config.Model(family=family, layers=4, width=64, heads=4, context=32, ffn=128), backend)
    tokens = torch.randint(0, 256, (2, 32))
    optimizer, losses = torch.optim.AdamW(model.parameters(), lr=3e-3), []
    for step in range(8):
        with backend.autocast(step):
            loss = model(tokens, tokens) / tokens.numel()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    per_block = 5 if family == "llama" else 4
    assert backend.check_active(model, 7) == per_block * (2 if keep_ends else 4)
    assert losses[-1] < losses[0] - 0.3


def test_a_bf16_stream_under_zero_style_casting_still_multiplies_in_fp8(build, torch):
    backend = build()
    model = mlp(backend, torch).bfloat16()  # what DeepSpeed does to a module
    with backend.autocast(0):
        y = model(torch.randn(16, 64, dtype=torch.bfloat16))
    y.float().sum().backward()
    assert backend.active(model) == 4 and model[0].up.weight.grad.dtype == torch.bfloat16
