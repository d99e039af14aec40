"""Checkpoints made of made-up tensors, by the parts that make real ones."""

from __future__ import annotations

from pathlib import Path

import torch

from trainer.checkpoint import folder, part, publish
from trainer.checkpoint.piece import BUFFER, WEIGHT, Piece
from trainer.checkpoint.publish import Rules

SHAPES = {"tokens.weight": (7, 5), "blocks.0.mlp.up.weight": (3, 4), "norm.weight": (5,)}
FACTS = {"identity": {}, "config": {}, "best": {"loss": None, "step": 0}, "engine": {"kind": "ddp", "zero": 0}}


def pieces(number: float = 1.0, rank: int = 0, ranks: int = 1) -> list[Piece]:
    """Every tensor's own range for a rank; all values follow from `number`."""
    found = []
    for place, (name, shape) in enumerate(SHAPES.items()):
        for kind in (WEIGHT, "exp_avg"):
            whole = torch.arange(float(torch.Size(shape).numel())) + number * (1 + place) + (kind == WEIGHT)
            cuts = [len(whole) * one // ranks for one in range(ranks + 1)]
            own = whole[cuts[rank] : cuts[rank + 1]]
            if len(own):
                found.append(Piece(kind, name, shape, cuts[rank], own))
        if rank == 0:
            found.append(Piece("step", name, (), 0, torch.tensor([number])))
    if rank == 0:
        found.append(Piece(BUFFER, "scales", (3,), 0, torch.tensor([1, 2, 3], dtype=torch.uint8)))
    return found


def save(root: Path, step: int, keep: int = 3, best: bool = False, ranks: int = 1) -> Path:
    """A published and tidied checkpoint of that step."""
    root.mkdir(parents=True, exist_ok=True)
    staging = root / f".staging-{folder.name_of(step)}-1"
    for rank in range(ranks):
        part.note(staging, rank, part.write(staging, rank, pieces(float(step), rank, ranks), b"{}"))
    written = part.gather(staging, ranks, lambda: False)
    pointers = (folder.BEST, folder.LATEST) if best else (folder.LATEST,)
    published = publish.publish(staging, step, written, FACTS, pointers)
    publish.tidy(published, Rules(keep))
    return published.folder


def publish_tensors(root: Path, step: int, values: dict[str, torch.Tensor], facts: dict[str, object]) -> Path:
    """A checkpoint of these weights alone."""
    root.mkdir(parents=True, exist_ok=True)
    staging = root / f".staging-{folder.name_of(step)}-1"
    own = [Piece(WEIGHT, name, tuple(value.shape), 0, value.flatten()) for name, value in values.items()]
    part.note(staging, 0, part.write(staging, 0, own, b"{}"))
    written = part.gather(staging, 1, lambda: False)
    return publish.publish(staging, step, written, {**FACTS, **facts}, (folder.LATEST,)).folder
