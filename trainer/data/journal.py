"""What an unfinished preparation remembers: its finished shards, and where in the sources to go on after each.

One JSON line per shard after a first one that says what is being prepared. Killed at any moment, the file holds whole
lines (a torn last one is dropped), and the shards it names are whole: a shard is renamed before its line is written.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from trainer.data.index import Shard
from trainer.errors import OUTSIDE_FAILED, TrainerError

NAME = ".prepare.journal"


@dataclass
class Counts:
    """Of the streams so far, by split: [train, val]. A state in the journal is always one between two blocks."""

    tokens: list[int] = field(default_factory=lambda: [0, 0])
    documents: list[int] = field(default_factory=lambda: [0, 0])
    bytes: list[int] = field(default_factory=lambda: [0, 0])  # UTF-8 of the texts
    held_out: bool = False  # where the document goes that has begun and not ended
    counted: int = 0  # bytes by token_bytes
    skipped: int = 0
    weight: int = 0  # bytes of the sources
    said: list[str] = field(default_factory=list)  # the first skipped documents

    def copy(self) -> Counts:
        """One that does not change with this."""
        return Counts(**json.loads(json.dumps(asdict(self))))


@dataclass(frozen=True)
class Entry:
    """A finished shard of the train split, and the state before the block in which it ended."""

    shard: Shard
    position: Any
    counts: Counts


class Journal:
    """`about`: what is prepared; a journal about something else is not ours."""

    def __init__(self, folder: Path, about: str) -> None:
        self.path = folder / NAME
        self.about = about

    def exists(self) -> bool:
        """Whether the folder has an unfinished preparation."""
        return self.path.exists()

    def read(self) -> list[Entry] | None:
        """The finished shards, in order; None when the journal is about something else."""
        lines = self.path.read_bytes().split(b"\n")[:-1]
        if not lines:
            return []
        if json.loads(lines[0]).get("about") != self.about:
            return None
        entries = []
        for line in lines[1:]:
            told = json.loads(line)
            entries.append(Entry(Shard(**told["shard"]), told["position"], Counts(**told["counts"])))
        return entries

    def begin(self, entries: list[Entry]) -> None:
        """Writes it anew with these entries, at once or not at all."""
        partial = self.path.with_name(f"{NAME}.partial")
        head = json.dumps({"about": self.about}).encode() + b"\n"
        try:
            with partial.open("wb") as file:
                file.write(head + b"".join(_line(one) for one in entries))
                file.flush()
                os.fsync(file.fileno())
            partial.replace(self.path)
        except OSError as error:
            raise full(self.path, error) from None

    def add(self, entry: Entry) -> None:
        """Appends one."""
        try:
            with self.path.open("ab") as file:
                file.write(_line(entry))
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise full(self.path, error) from None

    def remove(self) -> None:
        """The preparation is finished."""
        self.path.unlink(missing_ok=True)


def full(path: Path, error: OSError) -> TrainerError:
    """The error for a disk that takes no more."""
    hint = "make room or choose another folder; then go on with the same command"
    return TrainerError(f"cannot write {path}: {error.strerror}", hint, OUTSIDE_FAILED)


def _line(entry: Entry) -> bytes:
    told = {"shard": asdict(entry.shard), "position": entry.position, "counts": asdict(entry.counts)}
    return json.dumps(told, separators=(",", ":")).encode() + b"\n"
