"""Which parameters decay and which Muon takes: by their shape and canonical name, nothing else."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch

from trainer import config

Named = Iterable[tuple[str, torch.nn.Parameter]]
QKV = ".attention.qkv.weight"


def adamw_groups(named_parameters: Named, optim: config.Optim) -> list[dict[str, Any]]:
    """Matrices and embeddings decay ("matrix"); norms and biases do not ("vector"). Empty groups are left out.

    Decay pulls a product's scale to zero, which a norm after it undoes; on a norm's weight or a bias it is a pull
    towards a wrong value (GPT-3 and nanoGPT draw the same line).
    """
    members: dict[str, list[torch.nn.Parameter]] = {"matrix": [], "vector": []}
    for _, parameter in named_parameters:
        members["matrix" if len(shape_of(parameter)) >= 2 else "vector"].append(parameter)
    return [_group(kind, found, optim) for kind, found in members.items() if found]


def muon_groups(named_parameters: Named, optim: config.Optim) -> list[dict[str, Any]]:
    """The blocks' matrices for Muon ("muon"), the rest as in adamw_groups: embeddings, positions, head and vectors.

    Embedding and head are look-up tables of one row per token and not maps between hidden states: the source of the
    algorithm (K. Jordan, "Muon: An optimizer for hidden layers", kellerjordan.github.io/posts/muon) leaves them to
    AdamW. A muon group carries "parts": per parameter the rows of its independent parts, see `parts`.
    """
    hidden: list[torch.nn.Parameter] = []
    split: list[list[int]] = []
    rest: list[tuple[str, torch.nn.Parameter]] = []
    for name, parameter in named_parameters:
        if name.startswith("blocks.") and len(shape_of(parameter)) == 2:
            hidden.append(parameter)
            split.append(parts(name, *shape_of(parameter)))
        else:
            rest.append((name, parameter))
    groups = adamw_groups(rest, optim)
    if hidden:
        muon = _group("muon", hidden, optim)
        groups.append({**muon, "parts": split, "momentum": optim.muon_momentum})
    return groups


def parts(name: str, rows: int, columns: int) -> list[int]:
    """Rows of the maps that are stacked in one matrix: q, k and v in a fused qkv, else all of them as one.

    The layout is all query rows, then keys, then values; queries have as many rows as the model is wide, which is the
    number of columns, and keys and values share what is left.
    """
    if not name.endswith(QKV):
        return [rows]
    return [columns, (rows - columns) // 2, (rows - columns) // 2]


def shape_of(parameter: torch.nn.Parameter) -> tuple[int, ...]:
    """The whole parameter's shape; ZeRO-3 leaves an empty one in its place, and the true one in `ds_shape`."""
    return tuple(getattr(parameter, "ds_shape", parameter.shape))


def _group(kind: str, members: list[torch.nn.Parameter], optim: config.Optim) -> dict[str, Any]:
    rate = optim.muon_lr if kind == "muon" else optim.lr
    decay = 0.0 if kind == "vector" else optim.weight_decay
    return {"params": members, "kind": kind, "base_lr": rate, "lr": rate, "weight_decay": decay}
