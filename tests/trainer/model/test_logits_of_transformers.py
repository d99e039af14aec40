"""The three families are transformers' own models: the same weights give the same logits."""

from __future__ import annotations

import dataclasses

import pytest

from trainer.config import Model
from trainer.model.families import family_of, sizes_of

pytestmark = pytest.mark.slow

BASE = Model(layers=3, heads=4, width=48, ffn=80, context=40, vocab=71)


def copied(state: dict, shape: Model) -> dict:
    """Our names and layouts as those of transformers."""
    sizes = sizes_of(shape)
    rows = [sizes.heads * sizes.head_dim, sizes.kv_heads * sizes.head_dim, sizes.kv_heads * sizes.head_dim]
    found = {}
    for name, tensor in state.items():
        place, _, kind = name.rpartition(".")
        if shape.family == "gpt2":
            turned = tensor.t() if kind == "weight" and "." in place and tensor.dim() == 2 else tensor  # Conv1D
            found[f"{gpt2_place(place)}.{kind}"] = turned
        elif place.endswith("qkv"):
            for letter, part in zip("qkv", tensor.split(rows), strict=True):
                found[f"{other_place(place, shape).replace('qkv', letter)}.{kind}"] = part
        else:
            found[f"{other_place(place, shape)}.{kind}"] = tensor
    return found


def gpt2_place(place: str) -> str:
    ends = {
        "norm1": "ln_1",
        "norm2": "ln_2",
        "attention.qkv": "attn.c_attn",
        "attention.out": "attn.c_proj",
        "mlp.up": "mlp.c_fc",
        "mlp.down": "mlp.c_proj",
    }
    tops = {"tokens": "transformer.wte", "positions": "transformer.wpe", "norm": "transformer.ln_f", "head": "lm_head"}
    if place in tops:
        return tops[place]
    _, layer, rest = place.split(".", 2)
    return f"transformer.h.{layer}.{ends[rest]}"


def other_place(place: str, shape: Model) -> str:
    mlp = ("gate_proj", "up_proj", "down_proj") if shape.family == "llama" else ("", "fc1", "fc2")
    ends = {
        "norm1": "input_layernorm",
        "norm2": "post_attention_layernorm",
        "attention.qkv": "self_attn.qkv_proj",
        "attention.out": "self_attn.o_proj",
        **{f"mlp.{ours}": f"mlp.{theirs}" for ours, theirs in zip(("gate", "up", "down"), mlp, strict=True)},
    }
    tops = {"tokens": "model.embed_tokens", "norm": "model.norm", "head": "lm_head"}
    if place in tops:
        return tops[place]
    _, layer, rest = place.split(".", 2)
    return f"model.layers.{layer}.{ends[rest]}"


def theirs(shape: Model):
    """transformers' model of this shape."""
    transformers = pytest.importorskip("transformers")
    family, sizes = family_of(shape), sizes_of(shape)
    common = {"vocab_size": shape.vocab, "tie_word_embeddings": sizes.tied, "bos_token_id": 0, "eos_token_id": 0}
    if shape.family == "gpt2":
        config = transformers.GPT2Config(
            n_positions=shape.context, n_embd=shape.width, n_layer=shape.layers, n_head=shape.heads,
            n_inner=sizes.ffn, layer_norm_epsilon=family.eps, activation_function="gelu_new", **common,
        )  # fmt: skip
        return transformers.GPT2LMHeadModel(config).eval()
    rotary = {"rope_type": "default", "rope_theta": shape.rope_theta}
    common |= {
        "hidden_size": shape.width, "intermediate_size": sizes.ffn, "num_hidden_layers": shape.layers,
        "num_attention_heads": sizes.heads, "num_key_value_heads": sizes.kv_heads, "rms_norm_eps": family.eps,
        "max_position_embeddings": shape.context, "rope_parameters": rotary, "pad_token_id": 0,
    }  # fmt: skip
    if shape.family == "llama":
        return transformers.LlamaForCausalLM(transformers.LlamaConfig(**common)).eval()
    config = transformers.NanoChatConfig(final_logit_softcapping=family.soft_cap, **common)
    return transformers.NanoChatForCausalLM(config).eval()


@pytest.mark.parametrize("options", [{}, {"kv_heads": 2}, {"tied": True}, {"tied": False}, {"rope_theta": 500000.0}])
@pytest.mark.parametrize("family", ["gpt2", "llama", "nanochat"])
def test_the_same_weights_give_the_same_logits(torch, build, tokens, family, options):
    if family == "gpt2" and "kv_heads" in options:
        pytest.skip("transformers' GPT-2 has no grouped heads")
    shape = dataclasses.replace(BASE, family=family, **options)
    model, other = build(shape).eval(), theirs(shape)
    missing, unexpected = other.load_state_dict(copied(model.state_dict(), shape), strict=False)
    assert not unexpected
    assert set(missing) <= ({"lm_head.weight"} if sizes_of(shape).tied else set())
    other.tie_weights()
    assert sum(p.numel() for p in other.parameters()) == sum(p.numel() for p in model.parameters())
    inputs, _ = tokens(shape)
    with torch.no_grad():
        expected, found = other(inputs).logits, model(inputs)
    assert expected.std().item() > 0.3
    torch.testing.assert_close(found, expected, rtol=0.0, atol=1e-4)
