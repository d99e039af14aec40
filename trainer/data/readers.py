"""Reads sources as blocks from any position on. A position is a JSON value; the same one gives the same blocks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from trainer.data import columns
from trainer.data.block import SIZE, Block, Piece, safe_cut
from trainer.data.opened import Opened
from trainer.data.sources import Source
from trainer.errors import TrainerError

BOM = b"\xef\xbb\xbf"
BLANK = rb"\r?\n(?:[ \t]*\r?\n)+"
REACH = 256  # bytes: no separator is longer


@dataclass(frozen=True)
class Shape:
    """How documents lie in sources. separator: what stands between the documents of a text file ("": empty lines;
    None: a file is one document); a line break on either side belongs to it. key: the text's field elsewhere."""

    separator: str | None = None
    key: str = "text"

    def pattern(self) -> re.Pattern[bytes] | None:
        """Of the separator. Raises TrainerError for one too long."""
        if self.separator is None:
            return None
        if len(self.separator.encode()) > REACH // 2:
            raise TrainerError(f"the separator has more than {REACH // 2} bytes", "give a shorter one")
        line = rb"(?:\r?\n)?"
        return re.compile(line + re.escape(self.separator.encode()) + line if self.separator else BLANK)


def blocks(sources: list[Source], shape: Shape, start: Any = None) -> Iterator[tuple[Block, Any]]:
    """Every block and the position after it. start: a position given earlier, None: the beginning.

    Small text files come together in one block, large ones in several. Raises TrainerError for what cannot be read.
    """
    first, inside = start if start is not None else (0, None)
    held: list[Piece] = []
    weight = size = 0
    for number in range(first, len(sources)):
        source, begin = sources[number], inside if number == first else None
        if source.form == "text":
            for piece, more, after in _pieces(source, shape.pattern(), begin):
                held.append(piece)
                weight, size = weight + more, size + len(piece.content)
                if size >= SIZE or len(held) >= 1 << 14:
                    yield Block(weight, pieces=tuple(held)), [number + 1, None] if after is None else [number, after]
                    held, weight, size = [], 0, 0
            continue
        if held:
            yield Block(weight, pieces=tuple(held)), [number, None]
            held, weight, size = [], 0, 0
        for block, after in _rows_or_lines(source, shape.key, begin):
            yield block, [number, after]
    if held:
        yield Block(weight, pieces=tuple(held)), [len(sources), None]


def _rows_or_lines(source: Source, key: str, start: Any) -> Iterator[tuple[Block, Any]]:
    if source.form == "jsonl":
        return _lines(source, start)
    return columns.parquet(source, key, start) if source.form == "parquet" else columns.hub(source, key, start)


def _pieces(source: Source, pattern: re.Pattern[bytes] | None, start: Any) -> Iterator[tuple[Piece, int, Any]]:
    """Pieces of a text file, their weights, and the place after each: [offset, whether inside a document], None: end.

    Where it cuts depends on the content from the last cut on, never on how much a read brought.
    """
    offset, inside = start or (0, False)
    with Opened(source.path, offset) as file:
        data, at, ended = b"", 0, False
        while True:
            while not ended and len(data) - at <= SIZE + REACH:
                more = file.read()
                ended = not more
                data, at = data[at:] + more, 0
            if offset == 0 and data.startswith(BOM):
                at = offset = len(BOM)
            found = pattern.search(data, at, at + SIZE + REACH) if pattern else None
            if found is not None and found.start() - at <= SIZE:
                stop, after, ends = found.start(), found.end(), True
            elif len(data) - at > SIZE:
                stop = after = at + safe_cut(data[at : at + SIZE + 1], SIZE)
                ends = False
            else:
                stop, after, ends = len(data), len(data), True
            piece = Piece(source.name, data[at:stop], not inside, ends, offset)
            offset, inside, at = offset + after - at, not ends, after
            over = ended and at == len(data) and ends
            yield piece, file.weight(), None if over else [offset, inside]
            if over:
                return


def _lines(source: Source, start: Any) -> Iterator[tuple[Block, Any]]:
    """Whole lines, about a block's size of them. A place is [offset, lines before it]."""
    offset, before = start or (0, 0)
    with Opened(source.path, offset) as file:
        data, at, ended = b"", 0, False
        while True:
            stop = 0
            while not stop:
                if len(data) - at > SIZE:
                    stop = data.rfind(b"\n", at, at + SIZE) + 1 or data.find(b"\n", at + SIZE) + 1
                if not stop and ended:
                    stop = len(data)
                    break
                if not stop:
                    more = file.read()
                    ended = not more
                    data, at = data[at:] + more, 0
            content = data[at:stop]
            if not content:
                return
            lines = content.count(b"\n")
            first = before + 1
            offset, before, at = offset + len(content), before + lines, stop
            plain = content.removeprefix(BOM) if first == 1 else content
            yield Block(file.weight(), source.name, first, lines=plain), [offset, before]
