"""One module, three families: names, initial loss, norms and caps, and what moving and casting leave intact."""

from __future__ import annotations

import dataclasses
import math

import pytest

from trainer.config import Model
from trainer.errors import TrainerError

NAMES = {
    "gpt2": {"tokens.weight", "positions.weight", "norm.weight", "norm.bias"},
    "llama": {"tokens.weight", "norm.weight", "head.weight"},
    "nanochat": {"tokens.weight", "head.weight"},
}


def test_parameters_have_their_canonical_names(build, shape):
    names = {name for name, _ in build(shape).named_parameters()}
    assert {name for name in names if not name.startswith("blocks.")} == NAMES[shape.family]
    block = {name.removeprefix("blocks.0.").rsplit(".", 1)[0] for name in names if name.startswith("blocks.0.")}
    norms = set() if shape.family == "nanochat" else {"norm1", "norm2"}
    gate = {"mlp.gate"} if shape.family == "llama" else set()
    assert block == {"attention.qkv", "attention.out", "mlp.up", "mlp.down"} | norms | gate


@pytest.mark.parametrize("family", ["gpt2", "llama", "nanochat"])
@pytest.mark.parametrize(("layers", "width", "vocab"), [(2, 64, 256), (4, 256, 5000)])
def test_the_first_loss_is_that_of_guessing(torch, build, tokens, family, layers, width, vocab):
    shape = Model(family=family, layers=layers, width=width, vocab=vocab, context=64)
    inputs, targets = tokens(shape, batch=4)
    with torch.no_grad():
        loss = build(shape, spread=0.0)(inputs, targets) / targets.numel()
    assert loss.item() == pytest.approx(math.log(vocab), abs=0.1)


def test_a_wide_llama_starts_within_an_eighth_of_a_nat_of_guessing(torch, build, tokens):
    shape = Model(family="llama", layers=1, heads=16, width=2048, vocab=2000, context=16)
    inputs, targets = tokens(shape)
    with torch.no_grad():
        loss = build(shape, spread=0.0)(inputs, targets) / targets.numel()
    assert loss.item() == pytest.approx(math.log(2000) + 0.125, abs=0.1)


def test_residual_projections_start_smaller_in_gpt2_and_at_zero_in_nanochat(build):
    shape = Model(family="gpt2", layers=8, width=128)
    gpt2 = build(shape, spread=0.0).blocks[3]
    for layer in (gpt2.attention.out, gpt2.mlp.down):
        assert layer.weight.std().item() == pytest.approx(0.02 / math.sqrt(16), rel=0.05)
    assert gpt2.mlp.up.weight.std().item() == pytest.approx(0.02, rel=0.05)
    nanochat = build(dataclasses.replace(shape, family="nanochat"), spread=0.0).blocks[3]
    assert not nanochat.attention.out.weight.any()
    assert not nanochat.mlp.down.weight.any()
    assert nanochat.attention.qkv.weight.std().item() == pytest.approx(1 / math.sqrt(128), rel=0.05)


def test_initial_weights_follow_the_seed(torch, backend):
    from trainer.model.gpt import GPT

    def drawn(seed: int):
        torch.manual_seed(seed)
        return GPT(Model(), backend).state_dict()

    first, again, other = drawn(1), drawn(1), drawn(2)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["tokens.weight"], other["tokens.weight"])


def test_the_loss_is_the_sum_of_cross_entropies_of_the_logits(torch, build, tokens, shape):
    inputs, targets = tokens(shape)
    targets[0, :5] = -100
    model = build(shape)
    logits = model(inputs)
    assert logits.dtype == torch.float32
    expected = torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="sum")
    torch.testing.assert_close(model(inputs, targets), expected)


def test_nanochat_caps_its_logits_at_fifteen(torch, build, tokens):
    shape = Model(family="nanochat", width=64)
    with torch.no_grad():
        logits = build(shape, spread=3.0)(tokens(shape)[0])
    assert 14.0 < logits.abs().max().item() <= 15.0


def test_tokens_see_only_what_is_before_them(torch, build, tokens, shape):
    inputs, _ = tokens(shape)
    model = build(shape)
    later = inputs.clone()
    later[:, 10:] = (later[:, 10:] + 1) % shape.vocab
    with torch.no_grad():
        before, after = model(inputs), model(later)
    torch.testing.assert_close(before[:, :10], after[:, :10])
    assert not torch.allclose(before[:, 10:], after[:, 10:])


def test_positions_matter_in_every_family(torch, build, shape):
    """The same token everywhere gives the same output everywhere unless positions come in: two tokens are needed for
    RoPE to have something to turn."""
    model = build(shape)
    one, two = torch.tensor([[3, 5, 9]]), torch.tensor([[5, 3, 9]])
    with torch.no_grad():
        assert not torch.allclose(model(one)[:, -1], model(two)[:, -1], atol=1e-4)


def test_a_tied_head_is_one_tensor_saved_once(torch, build):
    model = build(Model(family="gpt2"))
    assert model.head.weight is model.tokens.weight
    assert "head.weight" not in model.state_dict()
    other = build(Model(family="gpt2"), spread=0.2)
    other.load_state_dict(model.state_dict())
    assert torch.equal(other.head.weight, model.tokens.weight)
    assert "head.weight" in build(Model(family="gpt2", tied=False)).state_dict()


def test_a_tied_pair_survives_leaving_the_meta_device(torch, backend):
    from trainer.model.gpt import GPT

    with torch.device("meta"):
        model = GPT(Model(family="gpt2"), backend)
    model.to_empty(device="cpu")
    assert model.head.weight is model.tokens.weight


def test_both_uses_of_a_tied_matrix_add_to_its_gradient(torch, build, tokens):
    shape = Model(family="gpt2", width=32, context=16, vocab=40)
    tied, untied = build(shape), build(dataclasses.replace(shape, tied=False))
    untied.load_state_dict({**tied.state_dict(), "head.weight": tied.tokens.weight.detach()})
    for model in (tied, untied):
        model(*tokens(shape)).backward()
    torch.testing.assert_close(tied.tokens.weight.grad, untied.tokens.weight.grad + untied.head.weight.grad)


def test_one_token_too_many_is_refused(build, tokens, shape):
    inputs, _ = tokens(shape, length=shape.context + 1)
    with pytest.raises(TrainerError, match=f"{shape.context + 1} tokens do not fit"):
        build(shape)(inputs)


def test_an_unknown_checkpointing_is_refused(build):
    with pytest.raises(TrainerError, match="'some' is not known"):
        build(Model(), checkpointing="some")


def test_under_bf16_autocast_the_loss_stays_close_and_the_stream_is_bf16(torch, build, tokens, shape):
    model, seen = build(shape, spread=0.02), []
    model.blocks[1].register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0].dtype))
    exact = model(*tokens(shape))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = model(*tokens(shape))
    rough.backward()
    assert seen == [torch.float32, torch.bfloat16]
    assert rough.dtype == torch.float32
    assert rough.item() == pytest.approx(exact.item(), rel=0.02)
    assert all(parameter.grad.dtype == torch.float32 for parameter in model.parameters())


def test_a_model_cast_to_bf16_still_turns_by_exact_angles(torch, build):
    model = build(Model(family="llama", context=64)).to(torch.bfloat16)
    cosines, _ = model.rope.table(63, 1, torch.device("cpu"), torch.float32)
    assert cosines[0, 0, 0].item() == pytest.approx(math.cos(63), abs=1e-6)


def test_sampling_first_does_not_spoil_training(torch, build, tokens):
    """Rotary tables made in inference mode would be refused by autograd."""
    shape = Model(family="llama")
    model = build(shape)
    with torch.inference_mode():
        model(tokens(shape)[0])
    model(*tokens(shape)).backward()
    assert model.tokens.weight.grad is not None


def test_kept_ends_are_not_offered_for_fp8(torch):
    from trainer.model.gpt import GPT

    asked = []

    class Ends:
        name = "ends"
        keep_ends = True

        def linear(self, inputs, outputs, bias, eligible):
            asked.append(eligible)
            return torch.nn.Linear(inputs, outputs, bias=bias)

    GPT(Model(family="llama", layers=4), Ends())
    assert asked == [False] * 5 + [True] * 10 + [False] * 5
