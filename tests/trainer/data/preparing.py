"""What the tests of `data prepare` share."""

from __future__ import annotations

import itertools
import json

import numpy as np

from trainer.data import index as indexes
from trainer.data.shards import open_shard
from trainer.data.wish import Wish


def wish(sources, out, tokenizer="bytes", **more):
    sources = sources if isinstance(sources, list) else [sources]
    more = {"workers": 1, "quiet": True, "val": 0.0, **more}
    return Wish([str(one) for one in sources], out, tokenizer, **more)


def stream(folder, split="train"):
    """All values of a split: what the shards own, and the last target."""
    index = indexes.read(folder)
    values = [open_shard(folder / one.file, one, index.dtype) for one in index.splits[split].shards]
    for one, following in itertools.pairwise(values):
        assert one[-1] == following[0]
    return np.concatenate([*(one[:-1] for one in values[:-1]), values[-1]])


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def jsonl(path, texts):
    path.write_text("".join(json.dumps({"text": text, "id": n}) + "\n" for n, text in enumerate(texts)))
    return path


def tales():
    """Documents of some hundred bytes, all different."""
    return [f"Story {n}. " + "once upon a time " * (n % 37) for n in range(3000)]
