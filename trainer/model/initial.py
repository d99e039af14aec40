"""Initial weights by family. All start near the loss of guessing, ln(vocab).

gpt2: normal, std 0.02, biases 0, the two residual projections of a block divided by sqrt(2 layers) (Radford 2019 and
transformers); logits then have a variance of about 0.0004 width. llama: the same, and a head of std
min(0.02, 0.5 / sqrt(width)), so that wide models start within an eighth of a nat of ln(vocab). nanochat: embedding std
1, matrices uniform with std 1 / sqrt(width), residual projections 0 (a block begins as the identity), head std 0.001.
"""

from __future__ import annotations

import contextlib
import importlib
import math
from typing import cast

import torch
from torch import Tensor, nn

from trainer import config
from trainer.model.families import family_of

STD = 0.02  # gpt2 and llama


def initialise(model: nn.Module, shape: config.Model) -> None:
    """Draws every parameter by its canonical name, from torch's global generators; norms become the identity."""
    for name, parameter in model.named_parameters():
        with torch.no_grad(), _whole(parameter):
            _draw(name, parameter, shape)


def _draw(name: str, parameter: Tensor, shape: config.Model) -> None:
    *_, module, kind = name.split(".")
    if kind == "bias":
        nn.init.zeros_(parameter)
    elif module.startswith("norm"):
        nn.init.ones_(parameter)
    elif family_of(shape).name == "nanochat":
        _draw_nanochat(module, parameter, shape.width)
    else:
        std = STD / math.sqrt(2 * shape.layers) if module in ("out", "down") else STD
        if module == "head":
            std = min(STD, 0.5 / math.sqrt(shape.width))
        nn.init.normal_(parameter, std=std)


def _draw_nanochat(module: str, parameter: Tensor, width: int) -> None:
    if module in ("out", "down"):
        nn.init.zeros_(parameter)
    elif module in ("tokens", "head"):
        nn.init.normal_(parameter, std=1.0 if module == "tokens" else 0.001)
    else:
        bound = math.sqrt(3 / width)  # of a uniform distribution with std 1 / sqrt(width)
        nn.init.uniform_(parameter, -bound, bound)


def _whole(parameter: Tensor) -> contextlib.AbstractContextManager[object]:
    """A parameter that ZeRO-3 has already cut up is put together, drawn on rank 0 and sent to the others."""
    if not hasattr(parameter, "ds_id"):
        return contextlib.nullcontext()
    zero = importlib.import_module("deepspeed").zero
    return cast(contextlib.AbstractContextManager[object], zero.GatheredParameters([parameter], modifier_rank=0))
