"""Several transfers at once that stop together: on the first failure, or on Ctrl-C, between two chunks.

A stop between chunks leaves uploads that every registry can go on with (see upload.py).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from images.progress import Progress
from images.registry.errors import Interrupted
from profiles.errors import StoppedEarly

T = TypeVar("T")
Work = Callable[[Callable[[], bool]], T]  # takes `stopped`, which it asks between chunks


class Crew(Generic[T]):
    """Threads that take works from one line. They are daemons: a second Ctrl-C does not wait for them."""

    def __init__(self, works: Sequence[Work[T]], jobs: int) -> None:
        self.waiting = iter(list(enumerate(works)))
        self.running = min(jobs, len(works))
        self.stop, self.ended, self.lock = threading.Event(), threading.Event(), threading.Lock()
        self.results: dict[int, T] = {}
        self.failures: list[BaseException] = []

    def start(self) -> None:
        for _ in range(self.running):
            threading.Thread(target=self.member, daemon=True).start()

    def member(self) -> None:
        while not self.stop.is_set():
            with self.lock:
                index, work = next(self.waiting, (-1, None))
            if work is None:
                break
            try:
                self.results[index] = work(self.stop.is_set)
            except BaseException as failure:
                self.failures.append(failure)
                self.stop.set()
        with self.lock:
            self.running -= 1
            if not self.running:
                self.ended.set()


def run_all(works: Sequence[Work[T]], jobs: int, progress: Progress) -> list[T]:
    """The results of all works, in order, at most `jobs` at a time.

    Raises the first failure after the other workers have stopped; StoppedEarly after Ctrl-C (a second one does not
    wait).
    """
    if not works:
        return []
    crew: Crew[T] = Crew(works, jobs)
    crew.start()
    # Not Thread.join: interrupted by Ctrl-C, CPython 3.11's takes a running thread for ended (bpo-45274's repair).
    try:
        crew.ended.wait()
    except KeyboardInterrupt:
        crew.stop.set()
        progress.say("stopping after the chunks on their way (Ctrl-C again: at once)")
        crew.ended.wait()
        raise StoppedEarly("stopped; what has arrived is kept", "run the same command to go on") from None
    if crew.failures:
        real = [failure for failure in crew.failures if not isinstance(failure, Interrupted)]
        raise (real or crew.failures)[0]
    return [crew.results[index] for index in range(len(works))]
