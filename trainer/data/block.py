"""Blocks: about a MiB of a source, in the form in which a worker takes it. Documents come out of it there, not here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

SIZE = 1 << 20  # bytes: 0.2 s of work for a BPE, little memory, and pipes are no bottleneck


@dataclass(frozen=True)
class Piece:
    """UTF-8 bytes of one document, or of a part of it: a large one comes in several. start: its offset in the file."""

    file: str
    content: bytes
    begins: bool = True
    ends: bool = True
    start: int = 0


@dataclass(frozen=True)
class Block:
    """What a worker turns into tokens.

    weight: the bytes on disk that it stands for, for the progress. file: the name for messages; first: the number of
    the first line or row, from 1. Exactly one of the payloads is there: pieces (of text files), lines (whole JSONL
    lines), rows (texts, or an Arrow array of texts).
    """

    weight: int
    file: str = ""
    first: int = 1
    lines: bytes | None = None
    pieces: tuple[Piece, ...] | None = None
    rows: Any = None


def safe_cut(content: bytes, at: int) -> int:
    """Where to cut a large document so that no tokenizer notices: at most `at`, and near it.

    After a line feed between two characters that are no white space: the patterns of GPT-2, cl100k and o200k always
    end a piece there. Else after any line feed, else at a character's border. Depends on nothing but the bytes.
    The content is longer than `at`.
    """
    low = max(1, at - (1 << 16))
    found = at
    while True:
        found = content.rfind(b"\n", low, found) + 1
        if found <= low:
            break
        around = content[found - 2 : found - 1] + content[found : found + 1]
        if len(around) == 2 and not any(one in b" \t\r\n\x0b\x0c" or one >= 0x80 for one in around):
            return found
        found -= 1
    line = content.rfind(b"\n", low, at) + 1
    if line > low:
        return line
    found = at
    while found > max(0, at - 4) and content[found] & 0xC0 == 0x80:  # inside a character
        found -= 1
    return found if found and content[found] & 0xC0 != 0x80 else at
