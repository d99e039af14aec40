"""`moved` for several threads at once, and the work they share: the first failure ends all of it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from trainer.stores.store import Moved

Work = TypeVar("Work")
THREADS = 4


class Counted:
    """Calls `moved` from one thread at a time, so that it may sleep to hold a rate; remembers what it raised.

    Libraries wrap what their bodies raise in errors of their own: `raised` is the original.
    """

    def __init__(self, moved: Moved) -> None:
        self._moved = moved
        self._lock = threading.Lock()
        self.raised: BaseException | None = None  # by `moved`
        self.failure: BaseException | None = None  # why all threads shall end

    def __call__(self, size: int) -> None:
        with self._lock:
            self.check()
            try:
                self._moved(size)
            except BaseException as error:
                self.raised = self.failure = error
                raise

    def stop(self, failure: BaseException) -> None:
        """From now on every call raises."""
        if self.failure is None:
            self.failure = failure

    def check(self) -> None:
        """Raises what ended the transfer, if anything did."""
        if self.failure is not None:
            raise self.failure


def each(work: Sequence[Work], do: Callable[[Work], None], counted: Counted, threads: int = THREADS) -> None:
    """do(one) for all, `threads` at a time; raises the first failure after all threads have ended."""
    if len(work) <= 1 or threads == 1:
        for one in work:
            do(one)
        return

    def guarded(one: Work) -> None:
        if counted.failure is not None:
            return
        try:
            do(one)
        except BaseException as error:
            counted.stop(error)

    with ThreadPoolExecutor(min(threads, len(work)), thread_name_prefix="store") as pool:
        try:
            for done in [pool.submit(guarded, one) for one in work]:
                done.result()
        except BaseException as error:  # a signal that arrived while waiting
            counted.stop(error)
            raise
    counted.check()
