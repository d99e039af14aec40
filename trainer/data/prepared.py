"""Opens a folder made by `data prepare`, here or at a provider: checks the index, the files, and where they fit."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainer.config import Data
from trainer.data import index as indexes
from trainer.data import tokenizer
from trainer.data.cache import Cache
from trainer.data.index import AGAIN, Index
from trainer.data.origins import Cached, Local
from trainer.data.patience import Patience
from trainer.data.remote import Remote
from trainer.data.shards import check_size, size_error
from trainer.data.split import Source, Split, Tokens
from trainer.data.tokenizer import Tokenizer
from trainer.data.verify import Stamps, verify
from trainer.errors import TrainerError

EAGER = 2 << 30  # bytes of shards that are hashed at open, a second each or so; more are hashed as they are read


def open_local(folder: Path, context: int, vocab: int, cache: Path) -> Tokens:
    """See tokens.open_tokens. Checks the sizes of all shards, and hashes what has no stamp unless it is too much."""
    content = indexes.content(folder)
    index = indexes.parse(content, str(folder / indexes.NAME))
    _fits(index, str(folder), context, vocab)
    shards = [shard for split in index.splits.values() for shard in split.shards]
    for shard in shards:
        check_size(folder / shard.file, shard)
    stamps = Stamps(cache)
    if sum(shard.bytes for shard in shards) <= EAGER:
        with ThreadPoolExecutor(4) as pool:  # hashlib lets go of the interpreter
            list(pool.map(lambda shard: verify(folder / shard.file, shard, stamps), shards))
    sources = {name: Local(folder, split.shards, index.dtype, stamps) for name, split in index.splits.items()}

    def read(name: str) -> bytes:
        try:
            return (folder / name).read_bytes()
        except OSError as error:
            raise TrainerError(f"cannot read {folder / name}: {error.strerror}", f"copy it, or {AGAIN}") from None

    return _tokens(index, content, str(folder), context, sources, read, lambda: _same(tokenizer.load(folder), index))


def open_remote(data: Data, context: int, vocab: int, folder: Path, patience: Patience) -> Tokens:
    """See tokens.open_tokens. One listing checks the sizes; shards are fetched and hashed as they are wanted."""
    remote = Remote(data.path, patience)
    content = remote.read(indexes.NAME)
    index = indexes.parse(content, f"{remote.url}/{indexes.NAME}")
    _fits(index, remote.url, context, vocab)
    there = remote.sizes()
    for split in index.splits.values():
        for shard in split.shards:
            if there.get(shard.file) != shard.bytes:
                raise size_error(f"{remote.url}/{shard.file}", there.get(shard.file), shard)
    limit = int(data.cache_gb * 1e9)
    _room(index, data.shuffle_shards, limit)
    cache = Cache(folder, limit, Stamps(folder))
    sources: dict[str, Source] = {
        name: Cached(remote, cache, split.shards, index.dtype, 2 * data.shuffle_shards if name == "train" else 1)
        for name, split in index.splits.items()
    }
    kept = folder / f"tokenizer-{indexes.sha256_of(content)[:16]}"
    return _tokens(
        index, content, remote.url, context, sources, remote.read, lambda: _same(_fetched(remote, kept), index)
    )


def _tokens(
    index: Index,
    content: bytes,
    where: str,
    context: int,
    sources: dict[str, Local] | dict[str, Source],
    read: Callable[[str], bytes],
    load: Callable[[], Tokenizer],
) -> Tokens:
    splits = {
        name: Split(name, sources[name], [shard.tokens for shard in row.shards], context, row.documents, row.bytes)
        for name, row in index.splits.items()
    }
    val = splits.get("val")
    return Tokens(
        train=splits["train"],
        val=val if val is not None and val.windows else None,
        vocab=index.vocab,
        sha256=indexes.sha256_of(content),
        path=where,
        token_bytes=_token_bytes(index, where, read),
        load_tokenizer=load,
        more={"dtype": index.dtype, "tokenizer": index.tokenizer.name, "source": index.source},
    )


def _fits(index: Index, where: str, context: int, vocab: int) -> None:
    if index.vocab > vocab:
        hint = f"set model.vocab to {index.vocab} or more ({-(-index.vocab // 128) * 128} is a multiple of 128)"
        raise TrainerError(f"{where} has a vocabulary of {index.vocab}, model.vocab is {vocab}", hint)
    train = index.splits["train"]
    if train.tokens == 0:
        raise TrainerError(f"{where} holds no tokens to train on", "prepare it from a text that is not empty")
    if all(shard.tokens < context for shard in train.shards):
        longest = max(shard.tokens for shard in train.shards)
        hint = f"lower model.context to {longest} or less, or prepare more text in larger shards"
        raise TrainerError(f"no shard of {where} holds one window of model.context = {context} tokens", hint)


def _room(index: Index, group: int, limit: int) -> None:
    """Two groups of shards and one of another split must fit at once: read, read ahead, evaluated."""
    sizes = sorted((shard.bytes for shard in index.splits["train"].shards), reverse=True)
    others = [shard.bytes for name, split in index.splits.items() if name != "train" for shard in split.shards]
    need = sum(sizes[: 2 * group]) + max(others, default=0)
    if need > limit:
        what = f"data.cache_gb = {limit / 1e9:g} cannot hold two groups of data.shuffle_shards = {group} shards"
        raise TrainerError(what, f"set data.cache_gb to {need / 1e9:.3g} or more, or lower data.shuffle_shards")


def _token_bytes(index: Index, where: str, read: Callable[[str], bytes]) -> NDArray[np.uint16] | None:
    if index.token_bytes is None:
        return None
    content = read(index.token_bytes.file)
    if indexes.sha256_of(content) != index.token_bytes.sha256 or len(content) != 2 * index.vocab:
        raise TrainerError(f"{where}/{index.token_bytes.file} was altered", f"copy it again, or {AGAIN}")
    return np.frombuffer(content, dtype="<u2").astype(np.uint16)


def _fetched(remote: Remote, folder: Path) -> Tokenizer:
    """The tokenizer's description and the files that it names, kept beside the shards."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        described = folder / tokenizer.DESCRIPTION
        described.write_bytes(remote.read(tokenizer.DESCRIPTION))
        for name in tokenizer.saved_files(folder):
            if name == Path(name).name and not (folder / name).exists():
                (folder / name).write_bytes(remote.read(name))
    except OSError as error:
        raise TrainerError(f"cannot keep the tokenizer in {folder}: {error.strerror}", "set data.cache", 3) from None
    return tokenizer.load(folder)


def _same(found: Tokenizer, index: Index) -> Tokenizer:
    if found.vocab > index.vocab or found.kind != index.tokenizer.kind:
        what = f"the tokenizer beside the shards is {found.kind} with {found.vocab} ids, the index says "
        raise TrainerError(f"{what}{index.tokenizer.kind} with {index.vocab}", f"copy the folder again, or {AGAIN}")
    return found
