"""One file from the store, from the byte where an earlier try stopped, hashed on its way."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from trainer.stores.store import Moved, Store, StoreError
from trainer.sync.patience import Patience, patiently

PIECE = 1 << 22


class Wrong(Exception):
    """What the store has is not what the manifest says: one clause, for the user's eyes."""


class Stopped(Exception):
    """Another file of the same checkpoint failed, or the user wants to stop."""


@dataclass(frozen=True)
class Wanted:
    """A file as the manifest names it. name: at the store; path: here."""

    name: str
    path: Path
    size: int
    sha256: str


class Line:
    """The way from the store, shared by threads. bytes: fetched; kept: what was here and proved right so far; moved:
    the caller's; stop: ends all of it."""

    def __init__(self, store: Store, moved: Moved, say: Callable[[str], None], patience: Patience) -> None:
        self.store, self.say, self.patience = store, say, patience
        self.stop = threading.Event()
        self.bytes = self.kept = 0
        self._moved = moved
        self._lock = threading.Lock()

    def alive(self, count: int) -> None:
        """`count` bytes came. Raises Stopped."""
        if self.stop.is_set():
            raise Stopped
        with self._lock:
            self.bytes += count
        self._moved(count)

    def keeps(self, count: int) -> None:
        """`count` bytes need not be fetched; negative: they must, after all."""
        with self._lock:
            self.kept += count


def fetch(line: Line, wanted: Wanted) -> None:
    """Makes wanted.path that file, on the disk.

    Raises Wrong (then nothing of it is left), and Stopped, StoreError and OSError (then what came stays, for the next
    call). A kept beginning that turns out wrong is thrown away and all is fetched once more.
    """
    wanted.path.parent.mkdir(parents=True, exist_ok=True)
    with os.fdopen(os.open(wanted.path, os.O_RDWR | os.O_CREAT, 0o644), "r+b") as file:
        download = _Download(line, wanted, file.fileno())
        kept = download.take_up()
        good = download.go_on()
        if not good and kept:
            line.keeps(-kept)
            download.begin_anew()
            good = download.go_on()
    if not good:
        wanted.path.unlink()
        raise Wrong(f"{wanted.name} has another sha256 at the store")


class _Download:
    def __init__(self, line: Line, wanted: Wanted, handle: int) -> None:
        self.line, self.wanted, self.handle = line, wanted, handle
        self.digest, self.place = hashlib.sha256(), 0

    def take_up(self) -> int:
        """Hashes what an earlier call left; its bytes."""
        if os.fstat(self.handle).st_size > self.wanted.size:
            os.ftruncate(self.handle, 0)
        while piece := os.pread(self.handle, PIECE, self.place):
            self.digest.update(piece)
            self.place += len(piece)
            self.line.alive(0)
        self.line.keeps(self.place)
        return self.place

    def begin_anew(self) -> None:
        os.ftruncate(self.handle, 0)
        self.digest, self.place = hashlib.sha256(), 0

    def go_on(self) -> bool:
        """Fetches the rest; whether the whole is what was wanted."""
        if self.place < self.wanted.size:
            line = self.line
            patiently(self.wanted.name, self._stream, line.patience, line.say, lambda: self.place, line.stop.wait)
        os.fsync(self.handle)
        return self.digest.hexdigest() == self.wanted.sha256

    def _stream(self) -> None:
        for piece in self.line.store.read(self.wanted.name, self.place):
            if self.place + len(piece) > self.wanted.size:
                raise Wrong(f"{self.wanted.name} is longer at the store than its manifest says")
            written = 0
            while written < len(piece):  # a full disk writes what still fits, and raises with the next call
                written += os.pwrite(self.handle, piece[written:], self.place + written)
            self.digest.update(piece)
            self.place += len(piece)
            self.line.alive(len(piece))
        if self.place < self.wanted.size:
            raise StoreError(f"{self.wanted.name} ended after {self.place:,} of {self.wanted.size:,} bytes")
