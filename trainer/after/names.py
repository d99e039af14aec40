"""Parameter names and layouts: ours (trainer.model.gpt) and those of transformers, both ways.

gpt2      q, k, v in one Conv1D, whose weight is (inputs, outputs): transposed. It has no grouped heads: key and value
          heads are repeated, which gives the same logits.
llama     q, k, v apart; RMSNorm weights.
nanochat  as llama, without norm weights.

Every entry is made when its file is written, so that no second copy of the whole model is ever in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from trainer import config
from trainer.model.families import sizes_of

Tensors = Mapping[str, Tensor]
GPT2 = {
    "norm1": "ln_1",
    "norm2": "ln_2",
    "attention.out": "attn.c_proj",
    "mlp.up": "mlp.c_fc",
    "mlp.down": "mlp.c_proj",
}
LLAMA = {
    "norm1": "input_layernorm",
    "norm2": "post_attention_layernorm",
    "attention.out": "self_attn.o_proj",
    "mlp.gate": "mlp.gate_proj",
    "mlp.up": "mlp.up_proj",
    "mlp.down": "mlp.down_proj",
}
NANOCHAT = {"attention.out": "self_attn.o_proj", "mlp.up": "mlp.fc1", "mlp.down": "mlp.fc2"}
BLOCK = {"gpt2": GPT2, "llama": LLAMA, "nanochat": NANOCHAT}
OUTER = {
    "gpt2": {
        "tokens.weight": "transformer.wte.weight",
        "positions.weight": "transformer.wpe.weight",
        "norm.weight": "transformer.ln_f.weight",
        "norm.bias": "transformer.ln_f.bias",
        "head.weight": "lm_head.weight",
    },
    "llama": {
        "tokens.weight": "model.embed_tokens.weight",
        "norm.weight": "model.norm.weight",
        "head.weight": "lm_head.weight",
    },
    "nanochat": {"tokens.weight": "model.embed_tokens.weight", "head.weight": "lm_head.weight"},
}
PREFIX = {"gpt2": "transformer.h", "llama": "model.layers", "nanochat": "model.layers"}
PARTS = ("q_proj", "k_proj", "v_proj")


@dataclass(frozen=True)
class Entry:
    """A tensor of the export: its name, its size, and how to make it."""

    name: str
    shape: tuple[int, ...]
    make: Callable[[], Tensor]


def to_hub(tensors: Tensors, shape: config.Model) -> list[Entry]:
    """Our canonical tensors as those of transformers' class for the family, in our order."""
    entries: list[Entry] = []
    for name, tensor in tensors.items():
        entries += _entries(name, tensor, shape)
    return entries


def from_hub(tensors: Tensors, shape: config.Model) -> dict[str, Tensor]:
    """The inverse, for what `to_hub` made; raises KeyError with the first name that is missing."""
    names = [(ours, theirs) for ours, theirs in OUTER[shape.family].items() if ours != "head.weight"]
    found = {ours: tensors[theirs] for ours, theirs in names}
    if not sizes_of(shape).tied:
        found["head.weight"] = tensors[OUTER[shape.family]["head.weight"]]
    for layer in range(shape.layers):
        found.update(_block_from(tensors, shape, layer))
    return found


def _entries(name: str, tensor: Tensor, shape: config.Model) -> list[Entry]:
    family = shape.family
    if name in OUTER[family]:
        return [_same(OUTER[family][name], tensor)]
    _, layer, rest = name.split(".", 2)
    module, kind = rest.rsplit(".", 1)
    place = f"{PREFIX[family]}.{layer}"
    if module == "attention.qkv":
        return _apart(place, kind, tensor, shape) if family != "gpt2" else [_joined(place, kind, tensor, shape)]
    target = f"{place}.{BLOCK[family][module]}.{kind}"
    if family == "gpt2" and tensor.dim() == 2:
        return [Entry(target, (tensor.shape[1], tensor.shape[0]), lambda: tensor.t())]
    return [_same(target, tensor)]


def _same(name: str, tensor: Tensor) -> Entry:
    return Entry(name, tuple(tensor.shape), lambda: tensor)


def _apart(place: str, kind: str, tensor: Tensor, shape: config.Model) -> list[Entry]:
    parts = zip(PARTS, tensor.split(_rows(shape)), strict=True)
    return [_same(f"{place}.self_attn.{part}.{kind}", value) for part, value in parts]


def _joined(place: str, kind: str, tensor: Tensor, shape: config.Model) -> Entry:
    sizes = sizes_of(shape)
    rows = 3 * sizes.heads * sizes.head_dim

    def make() -> Tensor:
        q, k, v = tensor.split(_rows(shape))
        whole = torch.cat([q, _repeated(k, shape), _repeated(v, shape)])
        return whole.t() if tensor.dim() == 2 else whole

    size = (tensor.shape[1], rows) if tensor.dim() == 2 else (rows,)
    return Entry(f"{place}.attn.c_attn.{kind}", size, make)


def _rows(shape: config.Model) -> list[int]:
    sizes = sizes_of(shape)
    return [sizes.heads * sizes.head_dim, sizes.kv_heads * sizes.head_dim, sizes.kv_heads * sizes.head_dim]


def _repeated(part: Tensor, shape: config.Model) -> Tensor:
    """Query head h reads key head h // (heads / kv_heads): each key head is repeated in place."""
    sizes = sizes_of(shape)
    heads = part.reshape(sizes.kv_heads, sizes.head_dim, *part.shape[1:])
    return heads.repeat_interleave(sizes.heads // sizes.kv_heads, dim=0).flatten(0, 1)


def _block_from(tensors: Tensors, shape: config.Model, layer: int) -> dict[str, Tensor]:
    family = shape.family
    place, block = f"{PREFIX[family]}.{layer}", f"blocks.{layer}"
    found = {}
    kinds = ("weight", "bias") if family == "gpt2" else ("weight",)
    for module, theirs in BLOCK[family].items():
        for kind in kinds:
            value = tensors[f"{place}.{theirs}.{kind}"]
            turned = family == "gpt2" and value.dim() == 2
            found[f"{block}.{module}.{kind}"] = value.t().contiguous() if turned else value
    for kind in kinds:
        if family == "gpt2":
            whole = tensors[f"{place}.attn.c_attn.{kind}"]
            found[f"{block}.attention.qkv.{kind}"] = whole.t().contiguous() if whole.dim() == 2 else whole
        else:
            parts = [tensors[f"{place}.self_attn.{part}.{kind}"] for part in PARTS]
            found[f"{block}.attention.qkv.{kind}"] = torch.cat(parts)
    return found
