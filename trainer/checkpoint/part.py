"""One rank's part of a checkpoint: its files in the staging folder, and the note by which rank 0 learns they are done.

Ranks meet through the file system they share anyway, not through collectives: these belong to the training thread.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from trainer.checkpoint import folder, tensors
from trainer.checkpoint.piece import BUFFER, WEIGHT, Piece

SHARD = 1 << 28  # bytes of a file: several are written and hashed at once
WRITERS = 4  # files written at once: some are hashed while others wait for the disk
NOTE = ".part-{:05d}.json"
PATIENCE = 3600.0  # seconds without any rank's note until rank 0 gives the save up


class PartFailed(Exception):
    """A rank could not write its part; says why."""


def write(staging: Path, rank: int, pieces: Sequence[Piece], random: bytes) -> dict[str, Any]:
    """Writes the rank's files; they are on the disk when it returns. What it failed to write it removes again.

    pieces: in host memory; random: the content of the rank's file of generator states. Returns {"files": {name:
    {bytes, sha256}}, "tensors": {key: shape}}.
    """
    staging.mkdir(parents=True, exist_ok=True)
    shards = dict(_named(rank, pieces))
    try:
        with ThreadPoolExecutor(WRITERS) as pool:
            written = pool.map(lambda name: tensors.write(staging / name, shards[name]), shards)
            files = dict(zip(shards, written, strict=True))
        files.update(_random(staging, rank, random))
    except OSError:
        for name in shards:  # a full disk has room again for the note that says so
            (staging / name).unlink(missing_ok=True)
        raise
    return {"files": files, "tensors": dict(tensors.shapes(pieces))}


def note(staging: Path, rank: int, content: Mapping[str, Any]) -> None:
    """Tells rank 0 what this rank wrote, or {"error": why not}."""
    folder.replace(staging / NOTE.format(rank), json.dumps(content).encode())


def gather(staging: Path, ranks: int, gone: Callable[[], bool]) -> dict[str, Any]:
    """All ranks' notes as one, in the form of `write`, once they are there; removes the notes.

    gone: asked now and then whether waiting makes no sense any more. Raises PartFailed.
    """
    files: dict[str, Any] = {}
    shapes: dict[str, Any] = {}
    for rank in range(ranks):
        path = staging / NOTE.format(rank)
        content = json.loads(_awaited(path, gone))
        if "error" in content:
            raise PartFailed(content["error"] if ranks == 1 else f"rank {rank}: {content['error']}")
        files.update(content["files"])
        shapes.update(content["tensors"])
    for rank in range(ranks):
        (staging / NOTE.format(rank)).unlink()
    return {"files": files, "tensors": shapes}


def _awaited(path: Path, gone: Callable[[], bool]) -> bytes:
    pause, deadline = 0.001, time.monotonic() + PATIENCE
    while True:
        try:
            return path.read_bytes()
        except FileNotFoundError:
            if gone() or time.monotonic() > deadline:
                raise PartFailed(f"no word from {path.stem.removeprefix('.')}") from None
        time.sleep(pause)
        pause = min(2 * pause, 0.1)


def _named(rank: int, pieces: Sequence[Piece]) -> Iterator[tuple[str, list[Piece]]]:
    """File names with what goes into them. Buffers, of any type, come last: before them all is aligned to 4 bytes."""
    weights = [piece for piece in pieces if piece.kind == WEIGHT] + [piece for piece in pieces if piece.kind == BUFFER]
    states = [piece for piece in pieces if piece.kind not in (WEIGHT, BUFFER)]
    for title, those in (("weights", weights), ("optimizer", states)):
        for number, shard in enumerate(_shards(those)):
            yield f"{title}-{rank:05d}-{number:02d}.safetensors", shard


def _shards(pieces: Sequence[Piece]) -> Iterator[list[Piece]]:
    shard: list[Piece] = []
    size = 0
    for piece in _cut(pieces):
        more = piece.tensor.numel() * piece.tensor.element_size()
        if shard and size + more > SHARD:
            yield shard
            shard, size = [], 0
        shard.append(piece)
        size += more
    if shard:
        yield shard


def _cut(pieces: Sequence[Piece]) -> Iterator[Piece]:
    """Pieces larger than a shard, in several; buffers stay whole."""
    for piece in pieces:
        step = SHARD // piece.tensor.element_size()
        if piece.kind == BUFFER or piece.tensor.numel() <= step:
            yield piece
            continue
        for begin in range(0, piece.tensor.numel(), step):
            yield replace(piece, begin=piece.begin + begin, tensor=piece.tensor[begin : begin + step])


def _random(staging: Path, rank: int, content: bytes) -> dict[str, Any]:
    name = f"random-{rank:05d}.json"
    folder.replace(staging / name, content)
    return {name: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}}
