"""What a remote store is: names and bytes under one URL, and errors that say whether another try makes sense."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from trainer.errors import OUTSIDE_FAILED, TrainerError

# Called after every piece of a transfer with the bytes that went over the line since the last call (0: still alive),
# from several threads, but never at the same time. It may sleep, to hold a rate (for less than 10 s: servers end idle
# requests), and all of the transfer sleeps with it; it may raise, to end the transfer.
Moved = Callable[[int], None]


class StoreError(TrainerError):
    """The store could not do it. transient: the same call may work later. after: seconds it asked us to wait."""

    def __init__(self, what: str, next_step: str = "", transient: bool = True, after: float | None = None) -> None:
        super().__init__(what, next_step, OUTSIDE_FAILED)
        self.transient = transient
        self.after = after


class Missing(StoreError):
    """The store has nothing of that name (or no such bucket, repository or folder)."""

    def __init__(self, what: str, next_step: str = "") -> None:
        super().__init__(what, next_step, transient=False)


@dataclass(frozen=True)
class Item:
    """One file on its way into a store. name: relative, with slashes; source: a file, or its bytes.

    sha256: of the whole content, in hex, when it is known; size: bytes.
    """

    name: str
    source: Path | bytes
    size: int
    sha256: str | None = None


class Store(Protocol):
    """A folder somewhere else. Names are relative to `url`, with slashes, never absolute and never with `..`.

    Every method raises StoreError (transient or not) and no other error; none retries by itself for longer than its
    library insists on: patience is the caller's. No method prints. Secrets never stand in `url` or in a message.
    """

    url: str  # as given, without what is secret in it

    def list(self, prefix: str = "") -> dict[str, int]:
        """Bytes of every file whose name begins with `prefix` (a plain string prefix); {} when there is none, also
        when the bucket's folder, repository or directory does not exist yet. Half-sent files are not among them."""
        ...

    def read(self, name: str, begin: int = 0) -> Iterator[bytes]:
        """The file from byte `begin` on, in pieces of at most 4 MiB. Raises Missing; a cut line is transient."""
        ...

    def put(self, items: Sequence[Item], moved: Moved) -> None:
        """Sends files; returns when all are there, whole, under their names, replacing what had those names.

        A call that was cut off (also by a kill of this process) and is made again goes on where the store's protocol
        allows it. A name shows either its old content or all of its new content, never a part. Afterwards sizes, and
        hashes where the store tells any, are those that were sent, or StoreError is raised.
        """
        ...

    def delete(self, names: Sequence[str]) -> None:
        """Removes files, in this order; names that are not there are no error. Frees their space, also on the Hub."""
        ...

    def close(self) -> None:
        """Ends connections."""
        ...
