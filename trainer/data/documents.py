"""What a worker does with a block: documents out of it, their tokens, and to which split each of them belongs."""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from trainer.data.block import SIZE, Block, safe_cut
from trainer.data.shards import Values, numpy_dtype
from trainer.data.tokenizer import Ids, Tokenizer
from trainer.errors import TrainerError

SHOWN = 3  # bad documents named at the end, of those that were left out


@dataclass(frozen=True)
class Rules:
    """How documents are read. share: of all documents that go to the validation split. key: of the text in a JSON line
    or row. skip: bad documents are counted and left out, else the first one ends it."""

    key: str = "text"
    share: float = 0.0
    skip: bool = False


@dataclass(frozen=True)
class Part:
    """A document, or a part of a large one. where: for messages."""

    text: str
    size: int  # in UTF-8
    begins: bool
    ends: bool
    held_out: bool  # to the validation split; only the first part knows
    where: str


@dataclass
class Encoded:
    """A block as tokens. One row of lengths, sizes, begins, ends, held_out per part; tokens end to end, in order.

    counted: the UTF-8 bytes that the tokens stand for by token_bytes; with the text's own size it tells whether that
    table is exact. skipped: bad documents left out, the first of them in words.
    """

    tokens: Values
    lengths: NDArray[np.int64]
    sizes: NDArray[np.int64]
    begins: NDArray[np.bool_]
    ends: NDArray[np.bool_]
    held_out: NDArray[np.bool_]
    counted: int = 0
    skipped: int = 0
    said: list[str] = field(default_factory=list)


@dataclass
class Skipped:
    """The bad documents of a block that were left out."""

    count: int = 0
    said: list[str] = field(default_factory=list)

    def add(self, error: TrainerError) -> None:
        """One more; only the first few in words."""
        self.count += 1
        if len(self.said) < SHOWN:
            self.said.append(error.what)


def encode(block: Block, rules: Rules, tokenizer: Tokenizer, lengths: NDArray[np.uint16], dtype: str) -> Encoded:
    """The block's tokens, with the end-of-text after each document that ends. Raises TrainerError for bad documents."""
    skipped = Skipped()
    found = list(parts(block, rules, skipped))
    ids = _encode(found, tokenizer)
    counted = sum(int(lengths[one].sum(dtype=np.int64)) for one in ids)
    end = [] if tokenizer.eot is None else [np.array([tokenizer.eot], dtype=np.uint32)]
    rows = [piece for one, part in zip(ids, found, strict=True) for piece in ([one, *end] if part.ends else [one])]
    width = len(end)
    return Encoded(
        tokens=np.concatenate(rows).astype(numpy_dtype(dtype)) if rows else np.empty(0, numpy_dtype(dtype)),
        lengths=np.array([one.size + width * part.ends for one, part in zip(ids, found, strict=True)], dtype=np.int64),
        sizes=np.array([part.size for part in found], dtype=np.int64),
        begins=np.array([part.begins for part in found], dtype=bool),
        ends=np.array([part.ends for part in found], dtype=bool),
        held_out=np.array([part.held_out for part in found], dtype=bool),
        counted=counted,
        skipped=skipped.count,
        said=skipped.said,
    )


def parts(block: Block, rules: Rules, skipped: Skipped) -> Iterator[Part]:
    """The documents of a block; empty ones are none. Large ones come in parts, cut as `safe_cut` does."""
    if block.pieces is not None:
        for piece in block.pieces:
            try:
                text = _text(piece.content, piece.file, piece.start)
            except TrainerError as error:
                _bad(error, rules, skipped)
                text = ""
                if piece.begins and piece.ends:
                    continue
            if text or not (piece.begins and piece.ends):
                held = piece.begins and _held_out(piece.content, rules.share)
                size = len(piece.content) if text else 0
                yield Part(text, size, piece.begins, piece.ends, held, f"{piece.file}, byte {piece.start}")
        return
    for where, given in _texts(block, rules, skipped):
        try:
            content = given.encode()
        except UnicodeEncodeError as error:
            what = f"{where}: half a surrogate pair ({given[error.start]!a}) at character {error.start}"
            _bad(TrainerError(what, _hint("mend the escape in the source")), rules, skipped)
            continue
        held = _held_out(content[:SIZE], rules.share)
        yield from _cut(given, content, held, where)


def _cut(text: str, content: bytes, held: bool, where: str) -> Iterator[Part]:
    if len(content) <= SIZE:
        if text:
            yield Part(text, len(content), True, True, held, where)
        return
    at = 0
    while len(content) - at > SIZE:
        stop = at + safe_cut(content[at : at + SIZE + 1], SIZE)
        yield Part(content[at:stop].decode(), stop - at, at == 0, False, held, where)
        at = stop
    yield Part(content[at:].decode(), len(content) - at, False, True, False, where)


def _texts(block: Block, rules: Rules, skipped: Skipped) -> Iterator[tuple[str, str]]:
    if block.lines is not None:
        for number, line in enumerate(block.lines.split(b"\n"), block.first):
            if line.strip():
                where = f"{block.file}:{number}"
                try:
                    yield where, _of_line(line, where, rules.key)
                except TrainerError as error:
                    _bad(error, rules, skipped)
        return
    rows = block.rows.to_pylist() if hasattr(block.rows, "to_pylist") else block.rows
    for number, text in enumerate(rows or (), block.first):
        if isinstance(text, str):
            yield f"{block.file}, row {number}", text
        else:
            what = f"{block.file}, row {number}: {rules.key} is {_kind(text)}, not text"
            _bad(TrainerError(what, _hint("choose another --text-key")), rules, skipped)


def _of_line(line: bytes, where: str, key: str) -> str:
    try:
        told = json.loads(_text(line, where, 0))
    except ValueError as error:
        raise TrainerError(f"{where} is not JSON: {error}", _hint("mend the line")) from None
    if not isinstance(told, dict):
        raise TrainerError(f"{where} is {_kind(told)}, not a JSON object", _hint('write {"text": "..."} lines'))
    if key not in told:
        near = difflib.get_close_matches(key, list(told), 1, 0.4)
        hint = f"did you mean --text-key {near[0]}? " if near else ""
        there = f"There are: {', '.join(sorted(told)[:20])}" if told else "It is empty"
        raise TrainerError(f"{where} has no key {key!r}", f"{hint}{there}")
    text = told[key]
    if not isinstance(text, str):
        raise TrainerError(f"{where}: {key} is {_kind(text)}, not text", _hint("choose another --text-key"))
    return text


def _text(content: bytes, file: str, start: int) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        at = f"byte {start + error.start}"
        what = f"{file} is not UTF-8: 0x{content[error.start]:02x} at {at}"
        raise TrainerError(what, _hint("convert it with iconv")) from None


def _encode(found: list[Part], tokenizer: Tokenizer) -> list[Ids]:
    try:
        return tokenizer.encode_batch([part.text for part in found])
    except TrainerError:
        for part in found:  # once more, one at a time, for the place
            try:
                tokenizer.encode_batch([part.text])
            except TrainerError as error:
                raise TrainerError(f"{part.where}: {error.what}", error.next_step, error.exit_code) from None
        raise


def _held_out(content: bytes, share: float) -> bool:
    """By the document's own text: the same whoever reads it, and copies of a document are never in both splits."""
    if share <= 0:
        return False
    drawn = int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "little")
    return drawn < share * 2.0**64


def _bad(error: TrainerError, rules: Rules, skipped: Skipped) -> None:
    if not rules.skip:
        raise error
    skipped.add(error)


def _hint(other: str) -> str:
    return f"{other}, or leave bad documents out with --skip-bad"


def _kind(value: object) -> str:
    names = {dict: "an object", list: "a list", str: "a string", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number" if isinstance(value, (int, float)) else type(value).__name__)
