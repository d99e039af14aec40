"""The files of a run besides its checkpoints: settings, tokenizer, metrics, end. They lie below run/ at the store."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from trainer.stores.store import Item

PREFIX = "run/"
SETTINGS = ("config.json", "precision.json", "sft.json", "end.json")
WORDS = "training.log"
LINES = "*.jsonl"
TOKENIZER = "tokenizer"


@dataclass(frozen=True)
class RunFile:
    """A copy made at one moment. name: relative to the run folder, with slashes."""

    name: str
    data: bytes

    @property
    def sha256(self) -> str:
        """In hex."""
        return hashlib.sha256(self.data).hexdigest()

    @property
    def item(self) -> Item:
        """As a store takes it."""
        return Item(PREFIX + self.name, self.data, len(self.data), self.sha256)


def grows(name: str) -> bool:
    """Whether it is a log: only ever appended to."""
    return name == WORDS or name.endswith(".jsonl")


def ours(name: str) -> bool:
    """Whether a name below run/ is one that we send: nothing else at a store is ever written into a run folder."""
    parts = name.split("/")
    if any(part in ("", ".", "..") or "\0" in part for part in parts) or name.startswith("/"):
        return False
    return name in SETTINGS or (len(parts) == 1 and grows(name)) or (parts[0] == TOKENIZER and len(parts) > 1)


def copied(run: Path) -> list[RunFile]:
    """What is there now, in memory: a log keeps growing while it is sent, and its last line may be torn."""
    paths = [run / name for name in (*SETTINGS, WORDS)]
    paths += [*sorted(run.glob(LINES)), *sorted((run / TOKENIZER).rglob("*"))]
    files = []
    for path in paths:
        name = path.relative_to(run).as_posix()
        try:
            data = path.read_bytes() if path.is_file() else None
        except OSError:  # gone, or being replaced; the next pass has it
            continue
        if data is not None:
            files.append(RunFile(name, data[: data.rfind(b"\n") + 1] if grows(name) else data))
    return files
