"""Several transfers at once that stop together: on the first failure, or on Ctrl-C, between two chunks.

A stop between chunks leaves uploads that every registry can go on with (see upload.py).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

from images.progress import Progress
from images.registry.errors import Interrupted
from profiles.errors import StoppedEarly

T = TypeVar("T")
Work = Callable[[Callable[[], bool]], T]  # takes `stopped`, which it asks between chunks


def run_all(works: Sequence[Work[T]], jobs: int, progress: Progress) -> list[T]:
    """The results of all works, in order, at most `jobs` at a time.

    Raises the first failure after the other workers have stopped; StoppedEarly after Ctrl-C (a second one does not
    wait: the threads are daemons and die with the process).
    """
    stop, lock = threading.Event(), threading.Lock()
    results: dict[int, T] = {}
    failures: list[BaseException] = []
    waiting = iter(enumerate(works))

    ended = threading.Event()
    count = min(jobs, len(works))
    running = [count]

    def worker() -> None:
        try:
            work_off()
        finally:
            with lock:
                running[0] -= 1
                if not running[0]:
                    ended.set()

    def work_off() -> None:
        while not stop.is_set():
            with lock:
                index, work = next(waiting, (-1, None))
            if work is None:
                return
            try:
                results[index] = work(stop.is_set)
            except BaseException as failure:
                with lock:
                    failures.append(failure)
                stop.set()

    if not works:
        return []
    for _ in range(count):
        threading.Thread(target=worker, daemon=True).start()
    # Not Thread.join: interrupted by Ctrl-C, CPython 3.11's takes a running thread for ended (bpo-45274's repair).
    try:
        ended.wait()
    except KeyboardInterrupt:
        stop.set()
        progress.say("stopping after the chunks on their way (Ctrl-C again: at once)")
        ended.wait()
        raise StoppedEarly("stopped; what has arrived is kept", "run the same command to go on") from None
    if failures:
        real = [failure for failure in failures if not isinstance(failure, Interrupted)]
        raise (real or failures)[0]
    return [results[index] for index in range(len(works))]
