"""What a prepared folder holds, and whether its files are still what they were."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from trainer.data import index as indexes
from trainer.data.index import Index
from trainer.data.prepare import summary
from trainer.data.shards import check_size, open_shard
from trainer.data.tokenizer import load, saved_files
from trainer.data.verify import sha256_of_file
from trainer.errors import TrainerError

SAMPLE = 120  # tokens


def show(folder: Path, tokens: int = 0) -> dict[str, Any]:
    """The summary, a decoded beginning of each split, and how many epochs of train `tokens` tokens are (0: not asked).

    Raises TrainerError for a folder that is none.
    """
    index = indexes.read(folder)
    told = {**summary(folder, index), "samples": _samples(folder, index), "source": index.source}
    if tokens:
        told["epochs"] = round(tokens / max(1, index.splits["train"].tokens), 4)
    return told


def verify(folder: Path) -> list[str]:
    """Every fault found: shards and tokenizer files that are missing, truncated or altered. Reads all of it."""
    index = indexes.read(folder)
    faults = []
    for split in index.splits.values():
        for shard in split.shards:
            try:
                check_size(folder / shard.file, shard)
                if sha256_of_file(folder / shard.file) != shard.sha256:
                    faults.append(f"{shard.file} was altered: its sha256 is not the one in {indexes.NAME}")
            except TrainerError as error:
                faults.append(error.what)
    kept = index.token_bytes
    if kept is not None:
        try:
            if sha256_of_file(folder / kept.file) != kept.sha256:
                faults.append(f"{kept.file} was altered: its sha256 is not the one in {indexes.NAME}")
        except TrainerError as error:
            faults.append(error.what)
    try:
        tokenizer = load(folder)
        if (tokenizer.kind, tokenizer.vocab) != (index.tokenizer.kind, index.vocab):
            faults.append(f"the tokenizer in the folder is {tokenizer.name}, not {index.tokenizer.name}")
    except TrainerError as error:
        faults.append(error.what)
    return faults


def files(folder: Path) -> list[str]:
    """The names of all files of a prepared folder, the index last: in this order a copy is never half of one."""
    index = indexes.read(folder)
    shards = [shard.file for split in index.splits.values() for shard in split.shards]
    kept = [index.token_bytes.file] if index.token_bytes else []
    return [*shards, *kept, *saved_files(folder), indexes.NAME]


def _samples(folder: Path, index: Index) -> dict[str, str]:
    tokenizer = load(folder)
    found = {}
    for name, split in index.splits.items():
        if split.shards:
            values = open_shard(folder / split.shards[0].file, split.shards[0], index.dtype)
            found[name] = tokenizer.decode([int(one) for one in values[:SAMPLE]])
    return found
