"""How fast `data prepare` is beside the raw tokenizer on the same text and cores, for `python -m trainer bench`."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

from trainer.data import tokenizer as tokenizers
from trainer.data.documents import Rules, Skipped, parts
from trainer.data.optional import need
from trainer.data.prepare import prepare
from trainer.data.readers import Shape, blocks
from trainer.data.sources import find
from trainer.data.wish import Wish
from trainer.data.workers import cores


def measure(sources: list[str], spec: str, workers: int = 0, rounds: int = 2) -> dict[str, Any]:
    """Tokenises the sources with the raw tokenizer's own batch function on all cores and then by `prepare`, in turn,
    `rounds` times each; the best of each counts. share: of the raw speed that prepare reaches, with the start of its
    processes, reading, hashing and writing in it: give it a corpus that takes it some seconds.

    The text is read as parts of at most a MiB, as prepare reads it, so both do the same work. MB are of 10^6 bytes.
    """
    workers = workers or cores()
    texts = _texts(sources)
    size = sum(len(text.encode()) for text in texts)
    raw = _raw(tokenizers.named(spec), workers)
    best = {"raw": float("inf"), "prepare": float("inf")}
    for _ in range(rounds):
        begun = perf_counter()
        raw(texts)
        between = perf_counter()
        _prepared(sources, spec, workers)
        best["raw"] = min(best["raw"], between - begun)
        best["prepare"] = min(best["prepare"], perf_counter() - between)
    return {
        "tokenizer": spec,
        "workers": workers,
        "bytes": size,
        "raw_seconds": round(best["raw"], 3),
        "prepare_seconds": round(best["prepare"], 3),
        "raw_mb_per_s": round(size / 1e6 / best["raw"], 2),
        "prepare_mb_per_s": round(size / 1e6 / best["prepare"], 2),
        "share": round(best["raw"] / best["prepare"], 3),
    }


def _texts(sources: list[str]) -> list[str]:
    found, _ = find(sources)
    return [part.text for block, _ in blocks(found, Shape()) for part in parts(block, Rules(), Skipped())]


def _raw(one: Any, workers: int) -> Callable[[list[str]], Any]:
    """The tokenizer's own way to do many texts on many cores."""
    if one.kind in ("gpt2", "tiktoken"):
        return lambda texts: one.encoding.encode_ordinary_batch(texts, num_threads=workers)
    if one.kind == "hf":
        need("tokenizers", "tokenizers", "this measurement")
        return lambda texts: one.model.encode_batch(texts, add_special_tokens=False)
    batch: Callable[[list[str]], Any] = one.encode_batch
    return batch


def _prepared(sources: list[str], spec: str, workers: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        prepare(Wish(sources, Path(folder) / "out", spec, workers=workers, quiet=True))
