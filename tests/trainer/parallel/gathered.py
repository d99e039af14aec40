"""A checkpoint in memory: the pieces of all ranks put together, with every rule of the canonical form checked."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path

import torch
import torch.distributed as dist

from trainer.checkpoint.piece import BUFFER, WEIGHT, Piece
from trainer.errors import TrainerError

Flat = dict[tuple[str, str], torch.Tensor]


class Gathered:
    """Stored (trainer/checkpoint/piece.py) over whole tensors: {(kind, name): tensor in its shape}."""

    def __init__(self, tensors: Flat) -> None:
        self.tensors = tensors

    def kinds(self) -> set[str]:
        return {kind for kind, _ in self.tensors} - {BUFFER}

    def names(self, kind: str) -> dict[str, tuple[int, ...]]:
        return {name: tuple(value.shape) for (found, name), value in self.tensors.items() if found == kind}

    def read(self, kind: str, name: str, begin: int = 0, end: int | None = None) -> torch.Tensor:
        if (kind, name) not in self.tensors:
            raise TrainerError(f"no {kind} of {name}")
        return self.tensors[kind, name].flatten()[begin:end]

    def weights(self) -> dict[str, torch.Tensor]:
        return {name: value for (kind, name), value in self.tensors.items() if kind == WEIGHT}

    def same(self, other: Gathered) -> bool:
        """Bit for bit."""
        return self.tensors.keys() == other.tensors.keys() and all(
            value.dtype == other.tensors[key].dtype and torch.equal(value, other.tensors[key])
            for key, value in self.tensors.items()
        )


def joined(pieces: Iterable[Piece]) -> Gathered:
    """Puts pieces together; asserts that they cover every tensor exactly once, in agreement on its shape."""
    found: dict[tuple[str, str], list[Piece]] = {}
    for piece in pieces:
        found.setdefault((piece.kind, piece.name), []).append(piece)
    tensors: Flat = {}
    for key, parts in found.items():
        parts.sort(key=lambda part: part.begin)
        assert len({part.shape for part in parts}) == 1, key
        assert all(part.tensor.ndim == 1 and part.tensor.numel() for part in parts), key
        ends = [0, *(part.end for part in parts)]
        assert [part.begin for part in parts] == ends[:-1] and ends[-1] == math.prod(parts[0].shape), key
        tensors[key] = torch.cat([part.tensor for part in parts]).view(parts[0].shape)
    return Gathered(tensors)


def collect(engine, world) -> Gathered:
    """What a checkpoint of now would hold, on every rank. Collective."""
    own = [
        Piece(piece.kind, piece.name, piece.shape, piece.begin, piece.tensor.cpu().clone()) for piece in engine.pieces()
    ]
    all_ranks = [own]
    if world.size > 1:
        all_ranks = [None] * world.size
        dist.all_gather_object(all_ranks, own)
    return joined([piece for pieces in all_ranks for piece in pieces])


def keep(stored: Gathered, small: dict, file: Path, world) -> None:
    """For another launch."""
    if world.first:
        torch.save((stored.tensors, small), file)
    world.barrier()


def kept(file: Path) -> tuple[Gathered, dict]:
    tensors, small = torch.load(file, weights_only=False)
    return Gathered(tensors), small
