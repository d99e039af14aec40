"""Saves beside the training: one thread per rank copies, writes and hashes; rank 0's also publishes and tidies up.

The state changes in the optimizer's step alone, so the copy runs during the next forward and backward, and the loop
waits for it only before that step (the two phases of CheckFreq, FAST 2021). At most one save is in flight.
"""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trainer.checkpoint import part, publish
from trainer.checkpoint.piece import Piece
from trainer.checkpoint.publish import Published, Rules
from trainer.checkpoint.snapshot import Snapshot


@dataclass(frozen=True)
class Wish:
    """One save as one rank sees it. before: brings to the disk what has to be there first. It matters on rank 0 alone,
    and so do facts, pointers and rules."""

    step: int
    staging: Path
    pieces: Sequence[Piece]  # live, but for buffers
    random: bytes
    facts: dict[str, Any] = field(default_factory=dict)
    pointers: Sequence[str] = ()
    rules: Rules = field(default_factory=lambda: Rules(1))
    before: Callable[[], None] = lambda: None


@dataclass
class Outcome:
    """What became of a save. error: why there is no checkpoint; untidy: there is one, but why an older one that should
    go stays; stall: seconds the loop stood still for it; seconds: from its start to the published checkpoint."""

    step: int
    stall: float = 0.0
    seconds: float = 0.0
    error: str | None = None
    untidy: str | None = None
    published: Published | None = None


class Saver:
    """The saves of one rank."""

    def __init__(self, rank: int, ranks: int, asynchronous: bool = True) -> None:
        self.rank, self.ranks, self.asynchronous = rank, ranks, asynchronous
        self._snapshot = Snapshot()
        self._copied = threading.Event()
        self._copied.set()
        self._thread: threading.Thread | None = None
        self._outcome: Outcome | None = None
        self._closed = threading.Event()
        self._hurried = threading.Event()

    @property
    def busy(self) -> bool:
        """Whether a save is in flight."""
        return self._thread is not None and self._thread.is_alive()

    def begin(self, wish: Wish, stall: float = 0.0) -> None:
        """Starts a save; the one before must have ended. stall: seconds the loop has stood still for it so far."""
        assert not self.busy
        began = time.monotonic()
        self._copied.clear()
        self._outcome = outcome = Outcome(wish.step, stall)
        after = self._snapshot.ready()
        self._thread = threading.Thread(
            target=self._save, args=(wish, outcome, after), name=f"save-{wish.step}", daemon=True
        )
        try:
            self._thread.start()
        except RuntimeError:  # a container's limit of threads: then the loop waits, and is told what else fails
            self._thread = None
            self._save(wish, outcome, after)
        if not self.asynchronous:
            self.wait()
        outcome.stall += time.monotonic() - began

    def settle(self) -> None:
        """Returns when the state may change again: to be called before every optimizer step and every load."""
        if self._copied.is_set():
            return
        began = time.monotonic()
        self._copied.wait()
        if self._outcome is not None:
            self._outcome.stall += time.monotonic() - began

    def wait(self) -> None:
        """Returns when no save is in flight."""
        if self._thread is not None:
            self._thread.join()

    def outcome(self) -> Outcome | None:
        """What became of the last save, once; None while it is in flight and when it was told already."""
        if self.busy:
            return None
        outcome, self._outcome = self._outcome, None
        return outcome

    def hurry(self) -> None:
        """From now on a checkpoint that is published is not read back, and nothing older goes: the machine is about to
        be taken away. Whoever resumes from it verifies it."""
        self._hurried.set()

    def close(self) -> None:
        """Ends waiting for other ranks. A save in flight on this rank ends first, so that no thread outlives us."""
        self._closed.set()
        self.wait()

    def _save(self, wish: Wish, outcome: Outcome, after: Any) -> None:
        began = time.monotonic()
        try:
            try:
                pieces = self._snapshot.take(wish.pieces, after)
            finally:
                self._copied.set()
            part.note(wish.staging, self.rank, part.write(wish.staging, self.rank, pieces, wish.random))
            if self.rank == 0:
                written = part.gather(wish.staging, self.ranks, self._closed.is_set)
                wish.before()
                outcome.published = publish.publish(wish.staging, wish.step, written, wish.facts, wish.pointers)
                outcome.seconds = time.monotonic() - began
                if not self._hurried.is_set():
                    self._tidy(outcome.published, wish, outcome)
        except Exception as error:  # whatever it is, training goes on and the loop is told
            outcome.error = _reason(error)
            self._give_up(wish, outcome.error)

    def _tidy(self, published: Published, wish: Wish, outcome: Outcome) -> None:
        try:
            publish.tidy(published, wish.rules)
        except OSError as error:  # the checkpoint is there, and was read back
            outcome.untidy = _reason(error)

    def _give_up(self, wish: Wish, reason: str) -> None:
        """Nothing of it stays, and rank 0 learns of it, whatever failed and however early: it waits for our note."""
        if self.rank == 0:
            shutil.rmtree(wish.staging, ignore_errors=True)
            return
        with suppress(OSError):  # rank 0 then gives up by its own patience
            wish.staging.mkdir(parents=True, exist_ok=True)
            part.note(wish.staging, self.rank, {"error": reason})


def _reason(error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return str(text).splitlines()[0]
