"""Blocks of texts from tables: parquet files, and data sets of Hugging Face, streamed or from a folder."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from trainer.data.block import SIZE, Block
from trainer.data.optional import need
from trainer.data.sources import Source
from trainer.errors import OUTSIDE_FAILED, TrainerError

ROWS = 1024  # at most, in a block


def parquet(source: Source, key: str, start: Any) -> Iterator[tuple[Block, Any]]:
    """Row group by row group, a part of its one column at a time. A place is [row group, batches of it done, rows]."""
    arrow = need("pyarrow.parquet", "pyarrow", source.path)
    try:
        file = arrow.ParquetFile(source.path)
        column = _column(source, key, list(file.schema_arrow.names))
        told = file.metadata
        names = (
            [told.row_group(0).column(n).path_in_schema for n in range(told.num_columns)] if told.num_row_groups else []
        )
        group, done, row = start or (0, 0, 0)
        while group < told.num_row_groups:
            rows = told.row_group(group).num_rows
            size = told.row_group(group).column(names.index(column)).total_uncompressed_size if column in names else 0
            take = max(1, min(ROWS, rows * SIZE // max(1, size)))
            for number, batch in enumerate(file.iter_batches(take, [group], [key])):
                if number < done:
                    continue
                weight = source.size * batch.num_rows // max(1, told.num_rows)
                row += batch.num_rows
                yield (
                    Block(weight, source.name, row - batch.num_rows + 1, rows=batch.column(0)),
                    [group, number + 1, row],
                )
            group, done = group + 1, 0
    except TrainerError:
        raise
    except Exception as error:  # ArrowInvalid, OSError and others of pyarrow
        raise TrainerError(f"cannot read {source.path}: {_line(error)}", "fetch it again or leave it out") from None


def hub(source: Source, key: str, start: Any) -> Iterator[tuple[Block, Any]]:
    """NAME[:CONFIG[:SPLIT]] through the library `datasets`. A place is [rows, the library's own state or None]."""
    rows, state = start or (0, None)
    examples = _examples(source, rows, state)
    held: list[Any] = []
    size = 0
    stream = iter(examples)
    while True:
        example = _next(stream, source)
        if example is not None:
            if key not in example:
                _column(source, key, list(example))
            held.append(example[key])
            size += len(example[key] or "") if isinstance(example[key], str) else 0
        if held and (example is None or size >= SIZE or len(held) >= ROWS):
            rows += len(held)
            yield Block(size, source.name, rows - len(held) + 1, rows=held), [rows, _state(examples)]
            held, size = [], 0
        if example is None:
            return


def _examples(source: Source, rows: int, state: Any) -> Any:
    """The data set from row `rows` on. Raises TrainerError for a name, configuration or split that is not there."""
    datasets = need("datasets", "datasets", f"the data set {source.path}")
    name, config, split = _named(source.path)
    token = os.environ.get("HF_TOKEN") or None
    try:
        if _saved(name):
            table = datasets.load_from_disk(name)
            table = table[split] if isinstance(table, dict) else table
            return table.select(range(rows, len(table)))
        found = datasets.load_dataset(name, config, split=split, streaming=True, token=token)
        if state is not None:
            found.load_state_dict(state)
            return found
        return found.skip(rows) if rows else found
    except Exception as error:  # the library's own, by what is missing
        what = f"cannot open the data set {source.path}: {_line(error)}"
        hint = "hf-dataset:NAME[:CONFIG[:SPLIT]]; a closed data set needs HF_TOKEN; a local folder works as NAME"
        raise TrainerError(what, hint, OUTSIDE_FAILED) from None


def _named(path: str) -> tuple[str, str | None, str]:
    name, _, rest = path.partition(":")
    config, _, split = rest.partition(":")
    return name, config or None, split or "train"


def _saved(name: str) -> bool:
    """Whether it is a folder of `save_to_disk`."""
    return any((Path(name) / mark).is_file() for mark in ("dataset_info.json", "dataset_dict.json"))


def _next(stream: Iterator[Any], source: Source) -> Any:
    try:
        return next(stream, None)
    except Exception as error:  # a connection that broke, a damaged file: the library's own
        what = f"the data set {source.path} stopped: {_line(error)}"
        raise TrainerError(what, "the same command goes on where it stopped", OUTSIDE_FAILED) from None


def _state(examples: Any) -> Any:
    """Where a streamed data set stands, in its own terms: going on from there reads no earlier shard again."""
    try:
        return examples.state_dict()
    except (AttributeError, NotImplementedError):
        return None


def _column(source: Source, key: str, names: list[str]) -> str:
    if key in names:
        return key
    near = difflib.get_close_matches(key, names, 1, 0.4)
    hint = f"did you mean --text-key {near[0]}? " if near else ""
    raise TrainerError(f"{source.name} has no column {key!r}", f"{hint}There are: {', '.join(names)}")


def _line(error: Exception) -> str:
    """The error in one line, and never with a token in it."""
    text = " ".join(str(error).split())[:300] or type(error).__name__
    token = os.environ.get("HF_TOKEN")
    return text.replace(token, "***") if token else text
