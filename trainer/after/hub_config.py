"""A model's shape as a Hugging Face config.json and back. Facts of transformers 5.23 (GPT2Config, LlamaConfig,
NanoChatConfig); every key that has a default there which is not ours is written out. No torch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from trainer import config
from trainer.errors import TrainerError
from trainer.model.families import family_of, sizes_of

CLASSES = {"gpt2": "GPT2LMHeadModel", "llama": "LlamaForCausalLM", "nanochat": "NanoChatForCausalLM"}
NAMES = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}
SPREAD = 0.02  # initializer_range; only written down, a loaded model is not initialised


def plain(shape: config.Model) -> config.Model:
    """The shape in the form in which it is compared and stored: zeros, nulls and the depth dial resolved."""
    sizes = sizes_of(shape)
    return replace(shape, depth=0, kv_heads=sizes.kv_heads, ffn=sizes.ffn, tied=sizes.tied, dropout=0.0)


def to_hub(shape: config.Model, eot: int | None, dtype: str) -> dict[str, Any]:
    """config.json of `shape`; dtype: fp32, bf16 or fp16; eot: the id that ends a text."""
    common = {
        "architectures": [CLASSES[shape.family]],
        "model_type": shape.family,
        "vocab_size": shape.vocab,
        "bos_token_id": eot,
        "eos_token_id": eot,
        "pad_token_id": None,
        "tie_word_embeddings": sizes_of(shape).tied,
        "initializer_range": SPREAD,
        "dtype": NAMES[dtype],
        "use_cache": True,
    }
    return {**common, **(_gpt2(shape) if shape.family == "gpt2" else _rotary(shape))}


def from_hub(values: dict[str, Any], where: Path) -> config.Model:
    """The shape that config.json describes. Raises TrainerError when it is none that this trainer can build."""
    family = values.get("model_type")
    if family not in CLASSES:
        known = ", ".join(CLASSES)
        raise TrainerError(f"{where}: model_type {family!r} is not known here", f"only {known} can be read")
    try:
        shape = _from_gpt2(values) if family == "gpt2" else _from_rotary(values, family)
    except (KeyError, TypeError, ValueError) as error:
        raise TrainerError(f"{where}: {error} is missing or wrong", "give a folder made by `export`") from None
    _refuse_unlike(values, shape, where)
    return shape


def _gpt2(shape: config.Model) -> dict[str, Any]:
    return {
        "n_positions": shape.context,
        "n_ctx": shape.context,
        "n_embd": shape.width,
        "n_layer": shape.layers,
        "n_head": shape.heads,
        "n_inner": sizes_of(shape).ffn,
        "activation_function": "gelu_new",
        "layer_norm_epsilon": family_of(shape).eps,
        "resid_pdrop": shape.dropout,
        "embd_pdrop": shape.dropout,
        "attn_pdrop": shape.dropout,
    }


def _rotary(shape: config.Model) -> dict[str, Any]:
    sizes, family = sizes_of(shape), family_of(shape)
    values: dict[str, Any] = {
        "hidden_size": shape.width,
        "intermediate_size": sizes.ffn,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": sizes.heads,
        "num_key_value_heads": sizes.kv_heads,
        "head_dim": sizes.head_dim,
        "max_position_embeddings": shape.context,
        "hidden_act": "silu" if shape.family == "llama" else "relu2",
        "rms_norm_eps": family.eps,
        "rope_theta": shape.rope_theta,  # transformers 4; 5 reads rope_parameters
        "rope_parameters": {"rope_type": "default", "rope_theta": shape.rope_theta},
        "attention_bias": False,
        "attention_dropout": shape.dropout,
    }
    if shape.family == "llama":
        return {**values, "mlp_bias": False}
    return {**values, "final_logit_softcapping": family.soft_cap}


def _from_gpt2(values: dict[str, Any]) -> config.Model:
    width = int(values["n_embd"])
    return config.Model(
        family="gpt2",
        layers=int(values["n_layer"]),
        heads=int(values["n_head"]),
        kv_heads=int(values["n_head"]),
        width=width,
        ffn=int(values.get("n_inner") or 4 * width),
        context=int(values["n_positions"]),
        vocab=int(values["vocab_size"]),
        tied=bool(values.get("tie_word_embeddings", True)),
    )


def _from_rotary(values: dict[str, Any], family: str) -> config.Model:
    rope = values.get("rope_parameters") or {}
    heads = int(values["num_attention_heads"])
    return config.Model(
        family=family,
        layers=int(values["num_hidden_layers"]),
        heads=heads,
        kv_heads=int(values.get("num_key_value_heads") or heads),
        width=int(values["hidden_size"]),
        ffn=int(values["intermediate_size"]),
        context=int(values["max_position_embeddings"]),
        vocab=int(values["vocab_size"]),
        tied=bool(values.get("tie_word_embeddings", False)),
        rope_theta=float(rope.get("rope_theta") or values.get("rope_theta") or 10000.0),
    )


def _refuse_unlike(values: dict[str, Any], shape: config.Model, where: Path) -> None:
    """A model of the same class that computes otherwise (another activation, scaled positions) must not load."""
    ours = to_hub(shape, None, "fp32")
    for key in ("activation_function", "hidden_act", "rms_norm_eps", "layer_norm_epsilon", "final_logit_softcapping"):
        if key in ours and key in values and values[key] != ours[key]:
            what = f"{where}: {key} is {values[key]}, the {shape.family} of this trainer has {ours[key]}"
            raise TrainerError(what, "only folders made by `export` are read")
    kind = (values.get("rope_parameters") or {}).get("rope_type", "default")
    if kind != "default" or values.get("attention_bias") or values.get("mlp_bias"):
        raise TrainerError(f"{where}: scaled positions or biases, which this trainer has not", "give our own export")
