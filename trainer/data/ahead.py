"""Makes the next things before they are asked for, in a thread."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

Place = TypeVar("Place")
Thing = TypeVar("Thing")


class Ahead(Generic[Place, Thing]):
    """`take(place)` is `make(place)`, but quick when it is asked for in the order that `following` tells.

    depth: things made ahead; 0: none, and no thread. Whatever order is asked for, the answer is the same. An error of
    `make` is raised by the `take` of its place. After `close` the thread is gone and `take` raises RuntimeError.
    """

    def __init__(self, make: Callable[[Place], Thing], following: Callable[[Place], Place], depth: int) -> None:
        self._make, self._following, self._depth = make, following, depth
        self._change = threading.Condition()
        self._ready: deque[Future[Thing]] = deque()
        self._head: Place | None = None  # the place of what comes out next
        self._making: Place | None = None  # the place of what goes in next
        self._turn = 0  # counts the jumps, so that what was begun before one is thrown away
        self._closed = False
        self._thread: threading.Thread | None = None

    def take(self, place: Place) -> Thing:
        """What was made for `place`."""
        if self._depth == 0 and not self._closed:
            return self._make(place)
        with self._change:
            if self._head != place and not self._closed:
                self._jump(place)
            self._change.wait_for(lambda: self._ready or self._closed)
            if self._closed:
                raise RuntimeError("the loader is closed")
            made = self._ready.popleft()
            self._head = None if made.exception() else self._following(place)
            self._change.notify_all()
        return made.result()

    def close(self) -> None:
        """Ends the thread and waits for it, but not for what it is in the middle of for more than a moment."""
        with self._change:
            self._closed = True
            self._ready.clear()
            self._change.notify_all()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout=5.0)  # it is a daemon: a stalled download must not hold up the end of a run

    def _jump(self, place: Place) -> None:
        self._ready.clear()
        self._head = self._making = place
        self._turn += 1
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="read-ahead", daemon=True)
            self._thread.start()
        self._change.notify_all()

    def _work(self) -> None:
        while True:
            with self._change:
                self._change.wait_for(
                    lambda: self._closed or (self._making is not None and len(self._ready) < self._depth)
                )
                if self._closed or self._making is None:
                    return
                turn, place = self._turn, self._making
            made: Future[Thing] = Future()
            try:
                made.set_result(self._make(place))
            except BaseException as error:  # whatever it is, it belongs to the caller
                made.set_exception(error)
            with self._change:
                if turn == self._turn and not self._closed:
                    self._ready.append(made)
                    self._making = None if made.exception() else self._following(place)
                    self._change.notify_all()
