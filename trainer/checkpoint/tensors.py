"""Tensors in files: safetensors written in one pass with their hash, and read as flat ranges.

The format (github.com/huggingface/safetensors, README): eight bytes of header length, little endian; a JSON header
{name: {"dtype", "shape", "data_offsets": [begin, end]}}; the tensors' bytes without gaps. A range [b, e) of a flattened
tensor stands under the name `NAME[b:e]`.
"""

from __future__ import annotations

import bisect
import copy
import hashlib
import json
import mmap
import os
import re
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from trainer.checkpoint import manifest
from trainer.checkpoint.piece import BUFFER, WEIGHT, Piece
from trainer.errors import OUTSIDE_FAILED, TrainerError

DTYPES = {
    "F32": torch.float32,
    "F64": torch.float64,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
NAMES = {dtype: name for name, dtype in DTYPES.items()}
RANGE = re.compile(r"(.*)\[(\d+):(\d+)\]\Z")
LONGEST = 100_000_000  # bytes of a header, by the format's own rule
CHUNK = 1 << 24  # bytes hashed and written at once
Write = Callable[[Any], None]


def base_key(kind: str, name: str) -> str:
    """The key of a whole tensor."""
    return name if kind == WEIGHT else f"{kind}/{name}"


def key_of(piece: Piece) -> str:
    """The key that a piece has in its file."""
    key = base_key(piece.kind, piece.name)
    whole = piece.begin == 0 and piece.end == prod(piece.shape)
    return key if whole else f"{key}[{piece.begin}:{piece.end}]"


def head(pieces: Sequence[Piece]) -> bytes:
    """The bytes before the tensors: header length and header, padded so that the tensors begin at a multiple of 8."""
    entries: dict[str, Any] = {}
    place = 0
    for piece in pieces:
        size = piece.tensor.numel() * piece.tensor.element_size()
        key = key_of(piece)
        shape = list(piece.shape) if not key.endswith("]") else [piece.tensor.numel()]
        entries[key] = {"dtype": NAMES[piece.tensor.dtype], "shape": shape, "data_offsets": [place, place + size]}
        place += size
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text


def write(path: Path, pieces: Sequence[Piece], moved: Callable[[int], None] | None = None) -> dict[str, Any]:
    """Writes CPU pieces into a new file and brings it to the disk; its size and sha256, hashed on the way."""
    digest, size = hashlib.sha256(), 0
    with path.open("xb", buffering=0) as stream:
        for block in _blocks(pieces):
            digest.update(block)
            _write_all(stream.fileno(), block)
            size += len(block)
            if moved is not None:
                moved(len(block))
        os.fsync(stream.fileno())
    return {"bytes": size, "sha256": digest.hexdigest()}


def _blocks(pieces: Sequence[Piece]) -> Iterator[memoryview]:
    yield memoryview(head(pieces))
    for piece in pieces:
        # numpy has no bfloat16: the bytes are looked at as bytes
        flat = piece.tensor.detach().contiguous().flatten().view(torch.uint8)
        data = memoryview(flat.numpy())
        for begin in range(0, len(data), CHUNK):
            yield data[begin : begin + CHUNK]


def _write_all(handle: int, block: memoryview) -> None:
    while block:
        block = block[os.write(handle, block) :]


def header(path: Path) -> tuple[dict[str, Any], int]:
    """The entries of a file by key, and where its tensors begin. Raises TrainerError when it is none of ours."""
    try:
        with path.open("rb") as stream:
            (length,) = struct.unpack("<Q", stream.read(8))
            text = stream.read(min(length, LONGEST))
        if len(text) != length:
            raise ValueError("it ends within its header")
        entries = dict(json.loads(text).items())
        entries.pop("__metadata__", None)
    except OSError as error:
        hint = "use another checkpoint"
        raise TrainerError(f"cannot read {path}: {error.strerror}", hint, OUTSIDE_FAILED) from None
    except (ValueError, struct.error, AttributeError) as error:
        raise TrainerError(
            f"{path} is no safetensors file: {error}", "use another checkpoint", OUTSIDE_FAILED
        ) from None
    return entries, 8 + length


@dataclass(frozen=True)
class _Range:
    begin: int
    end: int
    file: Path
    place: int  # of its first byte
    dtype: torch.dtype


class Checkpoint:
    """piece.Stored over the files of a checkpoint folder; whether they are whole is verify's business."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            content = manifest.read(folder)
        except manifest.Damaged as damage:
            raise TrainerError(f"{folder}: {damage}", "use another checkpoint", OUTSIDE_FAILED) from None
        self._shapes = {key: tuple(shape) for key, shape in content["tensors"].items()}
        self._ranges: dict[str, list[_Range]] = {}
        self._maps: dict[Path, Tensor] = {}
        for name in sorted(content["files"]):
            if name.endswith(".safetensors") and (folder / name).exists():
                self._index(folder / name)
        for ranges in self._ranges.values():
            ranges.sort(key=lambda found: found.begin)

    def _index(self, file: Path) -> None:
        entries, start = header(file)
        for key, entry in entries.items():
            match = RANGE.match(key)
            size = prod(entry["shape"])
            base, begin, end = (match[1], int(match[2]), int(match[3])) if match else (key, 0, size)
            place = start + entry["data_offsets"][0]
            self._ranges.setdefault(base, []).append(_Range(begin, end, file, place, DTYPES[entry["dtype"]]))

    def kinds(self) -> set[str]:
        """See Stored."""
        return {_split(key)[0] for key in self._shapes} - {BUFFER}

    def names(self, kind: str) -> dict[str, tuple[int, ...]]:
        """See Stored."""
        split = ((_split(key), shape) for key, shape in self._shapes.items())
        return {name: shape for (found, name), shape in split if found == kind}

    def read(self, kind: str, name: str, begin: int = 0, end: int | None = None) -> Tensor:
        """See Stored. A range that lies in one piece is mapped from its file, not copied."""
        key = base_key(kind, name)
        if key not in self._shapes:
            raise TrainerError(f"{self.folder} has no {key}", "use another checkpoint", OUTSIDE_FAILED)
        size = prod(self._shapes[key])
        stop = size if end is None else end
        parts = list(self._parts(key, begin, stop))
        if len(parts) == 1:
            return parts[0]
        return torch.cat(parts) if parts else torch.empty(0)

    def whole(self, kind: str, name: str) -> Tensor:
        """The tensor in its shape."""
        return self.read(kind, name).view(self._shapes[base_key(kind, name)])

    def without_optimizer(self) -> Checkpoint:
        """The same with weights and buffers alone: who fills from it begins with a fresh optimizer."""
        bare = copy.copy(self)
        bare._shapes = {key: shape for key, shape in self._shapes.items() if _split(key)[0] in (WEIGHT, BUFFER)}
        return bare

    def buffers(self) -> dict[str, Tensor]:
        """What the model keeps besides parameters."""
        return {name: self.whole(BUFFER, name).clone() for name in self.names(BUFFER)}

    def _parts(self, key: str, begin: int, end: int) -> Iterator[Tensor]:
        ranges = self._ranges.get(key, [])
        number = max(0, bisect.bisect_right([found.begin for found in ranges], begin) - 1)
        place = begin
        for found in ranges[number:]:
            if place >= end or found.begin > place:
                break
            stop = min(end, found.end)
            if stop > place:
                yield self._mapped(found, place - found.begin, stop - place)
                place = stop
        if place < end:
            hint = "use another checkpoint"
            raise TrainerError(f"{self.folder} lacks {key} from element {place} on", hint, OUTSIDE_FAILED)

    def _mapped(self, found: _Range, offset: int, count: int) -> Tensor:
        bytes_of = found.dtype.itemsize
        raw = self._maps.get(found.file)
        if raw is None:
            raw = self._maps[found.file] = _map(found.file)
        place = found.place + offset * bytes_of
        data = raw[place : place + count * bytes_of]
        # behind a buffer of odd length nothing is aligned, and torch views no such bytes as wider numbers
        return (data.clone() if place % bytes_of else data).view(found.dtype)


def _map(file: Path) -> Tensor:
    """All bytes of a file as a tensor, without reading them. Private: a write to it would not reach the file."""
    with file.open("rb") as stream:
        return torch.frombuffer(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_COPY), dtype=torch.uint8)


def _split(key: str) -> tuple[str, str]:
    kind, slash, name = key.partition("/")
    return (kind, name) if slash else (WEIGHT, kind)


def shapes(pieces: Sequence[Piece]) -> Mapping[str, list[int]]:
    """Key without range to shape, as the manifest lists them."""
    return {base_key(piece.kind, piece.name): list(piece.shape) for piece in pieces}
