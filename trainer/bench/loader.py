"""The loader alone: how much faster it is than the step it feeds, and how long a seek takes."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from trainer.config import Data
from trainer.data import index, speed
from trainer.data.shards import ShardWriter
from trainer.data.tokens import open_tokens

CONTEXT, BATCH, VOCAB = 2048, 32, 50_000
TOKENS = 40_000_000


def measure(step_tokens_per_s: float) -> dict[str, Any]:
    """Reads a prepared folder of 40M tokens, memory-mapped. step_tokens_per_s: what the measured step eats."""
    with tempfile.TemporaryDirectory(prefix="stoker-bench-") as scratch:
        folder = Path(scratch)
        prepare(folder / "data")
        tokens = open_tokens(Data(path=str(folder / "data")), CONTEXT, VOCAB, folder / "cache")
        found = speed.measure(tokens.train, tokens.train.shards, BATCH, CONTEXT)
    return {
        "what": "loader against the fastest step measured here",
        **{name: round(value, 3) for name, value in found.items()},
        "times_the_step": round(found["tokens_per_s"] / step_tokens_per_s, 1),
    }


def prepare(folder: Path) -> None:
    """A folder as `data prepare` makes it, of random tokens."""
    folder.mkdir()
    with ShardWriter(folder, "train", "uint16") as writer:
        draw = np.random.default_rng(0)
        for _ in range(10):
            writer.append(draw.integers(0, VOCAB, TOKENS // 10, dtype=np.uint16))
        shards = writer.close()
    split = index.SplitIndex(sum(shard.tokens for shard in shards), 1, TOKENS, shards)
    made_by = index.TokenizerIndex("gpt2", "gpt2")
    index.write(folder, index.Index("uint16", VOCAB, made_by, None, {"train": split}, {"made": "random tokens"}))
