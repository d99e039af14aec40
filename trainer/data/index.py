"""`index.json` of a prepared folder: what the shards hold. Written by `data prepare`, read before any shard is."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from trainer.errors import TrainerError

FORMAT = 1
NAME = "index.json"
WIDTHS = {"uint16": 2, "uint32": 4}  # bytes of one value; little-endian in the files
AGAIN = "make the folder again with `python -m trainer data prepare`"


@dataclass(frozen=True)
class Shard:
    """A shard file. It holds tokens + 1 values: the last one is the first of the next shard (of the last shard: a
    value that is only ever a target). bytes: the file's size; sha256: of the file."""

    file: str
    tokens: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class SplitIndex:
    """tokens: of all shards; bytes: UTF-8 bytes of the text they stand for."""

    tokens: int
    documents: int
    bytes: int
    shards: tuple[Shard, ...]


@dataclass(frozen=True)
class FileIndex:
    """A file beside the shards, and its hash."""

    file: str
    sha256: str


@dataclass(frozen=True)
class TokenizerIndex:
    """Which tokenizer made the tokens; its files lie in the folder. eot: the token between documents, if any."""

    kind: str
    name: str
    eot: int | None = None


@dataclass(frozen=True)
class Index:
    """What index.json says. token_bytes: a file of one little-endian uint16 per id, the UTF-8 bytes it stands for."""

    dtype: str
    vocab: int
    tokenizer: TokenizerIndex
    token_bytes: FileIndex | None
    splits: dict[str, SplitIndex]
    source: dict[str, Any] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        """The file's content. The same index gives the same bytes."""
        return (json.dumps({"format": FORMAT, **asdict(self)}, indent=1, sort_keys=True) + "\n").encode()


def dtype_for(vocab: int) -> str:
    """The narrowest dtype that holds every id below `vocab`."""
    return "uint16" if vocab <= 1 << 16 else "uint32"


def sha256_of(plain: bytes) -> str:
    """As hex."""
    return hashlib.sha256(plain).hexdigest()


def write(folder: Path, index: Index) -> str:
    """Writes index.json at once or not at all (it comes last: a folder without it is unfinished). Its sha256.

    Raises TrainerError when what it would write could not be read again.
    """
    written = index.to_bytes()
    parse(written, str(folder / NAME))
    partial = folder / f".{NAME}.{os.getpid()}.partial"
    with partial.open("wb") as file:
        file.write(written)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(folder / NAME)
    return sha256_of(written)


def read(folder: Path) -> Index:
    """The index of a prepared folder. Raises TrainerError for a missing, unreadable or inconsistent one."""
    return parse(content(folder), str(folder / NAME))


def content(folder: Path) -> bytes:
    """index.json as it stands. Raises TrainerError for a missing or unreadable one."""
    path = folder / NAME
    try:
        return path.read_bytes()
    except FileNotFoundError:
        if not folder.is_dir():
            raise TrainerError(f"there is no folder {folder}", "give a folder made by `data prepare`") from None
        hint = f"make a prepared folder of it: python -m trainer data prepare {folder} --out DIR --tokenizer bytes"
        raise TrainerError(f"{folder} holds no {NAME}: it is no prepared folder", hint) from None
    except OSError as error:
        raise TrainerError(f"cannot read {path}: {error.strerror}", "give data.path a readable folder") from None


def parse(written: bytes, where: str) -> Index:
    """The index in `written`; `where` names it in errors. Raises TrainerError for anything that does not add up."""
    try:
        plain = json.loads(written)
    except ValueError as error:
        raise TrainerError(f"{where} is not JSON: {error}", AGAIN) from None
    if not isinstance(plain, dict):
        raise TrainerError(f"{where} is not a JSON object", AGAIN)
    if plain.get("format") != FORMAT:
        known = f"this trainer reads format {FORMAT}; {AGAIN} of this version"
        raise TrainerError(f"{where} has format {plain.get('format')!r}", known)
    try:
        index = _from_json(plain)
    except (KeyError, TypeError, ValueError) as error:
        said = f"the key {error} is missing" if isinstance(error, KeyError) else str(error)
        raise TrainerError(f"{where} is not as it should be: {said}", AGAIN) from None
    _check(index, lambda what: TrainerError(f"{where}: {what}", AGAIN))
    return index


def _from_json(plain: dict[str, Any]) -> Index:
    kept = plain.get("token_bytes")
    return Index(
        dtype=_text(plain["dtype"]),
        vocab=_count(plain["vocab"]),
        tokenizer=_tokenizer(plain["tokenizer"]),
        token_bytes=None if kept is None else _file(kept),
        splits={_text(name): _split(value) for name, value in plain["splits"].items()},
        source=dict(plain.get("source") or {}),
    )


def _split(plain: dict[str, Any]) -> SplitIndex:
    shards = tuple(
        Shard(_text(row["file"]), _count(row["tokens"]), _count(row["bytes"]), _text(row["sha256"]))
        for row in plain["shards"]
    )
    return SplitIndex(_count(plain["tokens"]), _count(plain["documents"]), _count(plain["bytes"]), shards)


def _tokenizer(plain: dict[str, Any]) -> TokenizerIndex:
    eot = plain.get("eot")
    return TokenizerIndex(_text(plain["kind"]), _text(plain["name"]), None if eot is None else _count(eot))


def _file(plain: dict[str, Any]) -> FileIndex:
    return FileIndex(_text(plain["file"]), _text(plain["sha256"]))


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} should be text")
    return value


def _count(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"{value!r} should be a whole number from 0 up")
    return value


def _check(index: Index, wrong: Callable[[str], TrainerError]) -> None:
    if index.dtype not in WIDTHS:
        raise wrong(f"dtype {index.dtype!r} is none of {', '.join(WIDTHS)}")
    width = WIDTHS[index.dtype]
    if not 0 < index.vocab <= 1 << (8 * width):
        raise wrong(f"dtype {index.dtype} is too small for a vocabulary of {index.vocab}")
    if "train" not in index.splits:
        raise wrong("there is no train split")
    files: set[str] = set()
    for name, split in index.splits.items():
        if sum(shard.tokens for shard in split.shards) != split.tokens:
            raise wrong(f"the shards of {name} do not hold its {split.tokens} tokens")
        for shard in split.shards:
            if shard.bytes != (shard.tokens + 1) * width:
                raise wrong(f"{shard.file} cannot hold {shard.tokens} + 1 values in {shard.bytes} bytes")
            _name(shard.file, files, wrong)
            _hash(shard.sha256, shard.file, wrong)
    if index.token_bytes is not None:
        _name(index.token_bytes.file, files, wrong)
        _hash(index.token_bytes.sha256, index.token_bytes.file, wrong)


def _name(name: str, seen: set[str], wrong: Callable[[str], TrainerError]) -> None:
    """A plain name: a path could reach out of the folder or of the cache."""
    if not name or name != Path(name).name or name in (".", "..") or "\\" in name:
        raise wrong(f"{name!r} is not the plain name of a file")
    if name in seen:
        raise wrong(f"{name} is named twice")
    seen.add(name)


def _hash(value: str, name: str, wrong: Callable[[str], TrainerError]) -> None:
    if len(value) != 64 or set(value) - set("0123456789abcdef"):
        raise wrong(f"the sha256 of {name} is not one")
