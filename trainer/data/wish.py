"""What a preparation is asked to do, and what of that decides the bytes it makes."""

from __future__ import annotations

import hashlib
import json
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from trainer.data import index as indexes
from trainer.data.block import SIZE
from trainer.data.limits import Limits
from trainer.data.readers import Shape
from trainer.data.shards import TOKENS_PER_SHARD
from trainer.data.sources import COMPRESSED, Source
from trainer.data.tokenizer import DESCRIPTION, Tokenizer
from trainer.data.workers import cores
from trainer.errors import REFUSED, TrainerError


@dataclass(frozen=True)
class Wish:
    """What to prepare. val: share of the documents for validation; val_tokens: about so many tokens instead (0: the
    share holds). shard_tokens: a power of two. workers: 0 as many as cores, fewer for little text. vocab_size: 0, or
    the most ids allowed."""

    sources: list[str]
    out: Path
    tokenizer: str
    eot: str | None = None
    val: float = 0.005
    val_tokens: int = 0
    shard_tokens: int = TOKENS_PER_SHARD
    workers: int = 0
    shape: Shape = field(default_factory=Shape)
    form: str = "auto"
    limits: Limits = field(default_factory=Limits)
    skip_bad: bool = False
    vocab_size: int = 0
    force: bool = False
    quiet: bool = False


def check(wish: Wish) -> None:
    """Raises TrainerError for numbers that make no sense."""
    if not 0 <= wish.val < 1:
        raise TrainerError(f"--val {wish.val} is no share", "from 0 (no validation) to below 1; 0.005 is usual")
    if wish.shard_tokens < 2 or wish.shard_tokens & (wish.shard_tokens - 1):
        raise TrainerError(f"--shard-tokens {wish.shard_tokens} is no power of two", "64M (67,108,864) is usual")
    if min(wish.limits.documents, wish.limits.tokens, wish.val_tokens, wish.workers, wish.vocab_size) < 0:
        raise TrainerError("a limit below 0", "give numbers from 0 up; 0 is no limit")
    for source in wish.sources:
        _apart(Path(source).expanduser(), wish.out)
    wish.shape.pattern()


def _apart(source: Path, out: Path) -> None:
    """Raises TrainerError when `source` is a prepared folder, or would be a source of its own result the next time."""
    if not source.is_dir():
        return
    if source.resolve() in (out.resolve(), *out.resolve().parents):
        raise TrainerError(f"--out {out} is inside the source {source}", "give --out a folder outside of it", REFUSED)
    if (source / indexes.NAME).exists() and (source / DESCRIPTION).exists():
        what = f"{source} is a prepared folder, no text"
        raise TrainerError(what, "give the corpus it was made of; or train on it: train --data " + str(source))


def share(wish: Wish, sources: list[Source], tokenizer: Tokenizer) -> float:
    """Of the documents that are candidates for val. By val_tokens a quarter too many: the streams stop at the number.

    Packed sources are taken as three times their size; of what has no size every hundredth document is a candidate.
    """
    if not wish.val_tokens:
        return wish.val
    if any(not one.size for one in sources):
        return 0.01
    packed = (*COMPRESSED, ".parquet")
    size = sum(one.size * (3 if one.path.endswith(packed) else 1) for one in sources)
    tokens = size / (4.0 if tokenizer.vocab > 1024 else 1.0)
    tokens = min(tokens, wish.limits.tokens or tokens)
    return min(0.5, 1.25 * wish.val_tokens / max(1.0, tokens))


def wanted(wish: Wish, sources: list[Source]) -> int:
    """Processes: as many as asked for, else the cores, but no more than there are megabytes to share out."""
    if wish.workers:
        return wish.workers
    if any(not one.size for one in sources):
        return cores()
    return max(1, min(cores(), sum(one.size for one in sources) // SIZE))


def fingerprints(wish: Wish, sources: list[Source], tokenizer: Tokenizer | None) -> tuple[str, str]:
    """Of what decides the bytes; and the same with the files' times, which a copy of the corpus need not share."""
    told: dict[str, Any] = {
        "options": options(wish),
        "sources": [(one.form, one.name, one.size) for one in sources],
        "hub": [one.path.partition(":")[2] for one in sources if one.form == "hub"],
        "tokenizer": _identity(tokenizer),
    }
    fingerprint = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()
    times = json.dumps([fingerprint, [one.changed for one in sources]])
    return fingerprint, hashlib.sha256(times.encode()).hexdigest()


def _identity(tokenizer: Tokenizer | None) -> str:
    """Of everything that the tokenizer saves."""
    if tokenizer is None:
        return "chars"
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save(Path(folder))
        return hashlib.sha256((Path(folder) / DESCRIPTION).read_bytes()).hexdigest()


def options(wish: Wish) -> dict[str, Any]:
    """Those that decide the bytes."""
    return {
        "eot": wish.eot,
        "val": {"tokens": wish.val_tokens} if wish.val_tokens else {"share": wish.val},
        "shard_tokens": wish.shard_tokens,
        "separator": wish.shape.separator,
        "text_key": wish.shape.key,
        "limits": asdict(wish.limits),
        "skip_bad": wish.skip_bad,
    }


def given(wish: Wish) -> str:
    """The sources, for messages."""
    shown = wish.sources[:3]
    return ", ".join(shown) + (", ..." if len(wish.sources) > 3 else "")
