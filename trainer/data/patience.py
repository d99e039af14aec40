"""Asks a remote server again until it answers, notices when it stalls, and gives up in the end with a clear error."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYet
from dataclasses import dataclass
from time import monotonic
from typing import TypeVar

from trainer.errors import OUTSIDE_FAILED, WRONG_INPUT, TrainerError

Answer = TypeVar("Answer")

say = logging.getLogger("trainer.data")

REFUSALS = ("NoCredentialsError", "DefaultCredentialsError", "RefreshError", "GatedRepoError", "InvalidAccessKeyId")


@dataclass(frozen=True)
class Patience:
    """stall: seconds without a byte until a try is given up. tries: in a row that brought nothing. The pause between
    tries doubles from `first` to `most` seconds."""

    stall: float = 60.0
    tries: int = 8
    first: float = 1.0
    most: float = 60.0

    def pause(self, failed: int) -> float:
        """Seconds to wait after the failure number `failed`, from 1."""
        return float(min(self.most, self.first * 2.0 ** (failed - 1)))


class Watch:
    """What a try tells of itself. A try that was given up may still be running; then `moved` is False and whatever
    it got must not be used."""

    def __init__(self) -> None:
        self.last = monotonic()
        self.steps = 0
        self._over = False
        self._lock = threading.Lock()

    def moved(self, keep: Callable[[], None] | None = None) -> bool:
        """Something came: runs `keep`, unless the try was given up."""
        with self._lock:
            if self._over:
                return False
            self.last, self.steps = monotonic(), self.steps + 1
            if keep is not None:
                keep()
            return True

    def give_up(self) -> None:
        """From now on nothing is kept."""
        with self._lock:
            self._over = True


def patiently(what: str, ask: Callable[[Watch], Answer], patience: Patience, closed: threading.Event) -> Answer:
    """`ask(watch)`, again after failures and stalls.

    Raises TrainerError: exit code 3 after patience.tries failures in a row without progress, or when the server
    refuses; 2 for what does not exist; and at once when `closed` is set.
    """
    failed = 0
    while True:
        watch = Watch()
        try:
            return _watched(ask, watch, patience.stall, closed)
        except TrainerError:
            raise
        except Exception as error:
            _refused(what, error)
            failed = 1 if watch.steps else failed + 1
            said = plainly(error)
        if closed.is_set():
            raise TrainerError(f"{what} was broken off", "", OUTSIDE_FAILED)
        if failed >= patience.tries:
            hint = "check the network and the server; the same command goes on where it stopped"
            raise TrainerError(f"{what} failed {failed} times: {said}", hint, OUTSIDE_FAILED)
        pause = patience.pause(failed)
        say.warning("%s: %s; try %d of %d in %.0f s", what, said, failed + 1, patience.tries, pause)
        closed.wait(pause)


def plainly(error: BaseException) -> str:
    """The first line of an error, without the query of a URL or a login in it: they may hold a signature or a key."""
    lines = str(error).strip().splitlines()
    line = re.sub(r"\?[^\s'\"]+", "?...", lines[0] if lines else "")
    line = re.sub(r"//[^/\s@]+@", "//...@", line)[:200]
    return f"{type(error).__name__}: {line}" if line else type(error).__name__


def _watched(ask: Callable[[Watch], Answer], watch: Watch, stall: float, closed: threading.Event) -> Answer:
    """Runs it in a thread of its own, since a client that waits on a dead connection cannot be interrupted."""
    answer: Future[Answer] = Future()

    def run() -> None:
        try:
            answer.set_result(ask(watch))
        except BaseException as error:
            answer.set_exception(error)

    threading.Thread(target=run, name="remote-try", daemon=True).start()
    while True:
        try:
            return answer.result(timeout=min(0.2, stall / 4))
        except NotYet:
            if answer.done():  # just now, or the client's own timeout
                return answer.result()
            if closed.is_set() or monotonic() - watch.last > stall:
                watch.give_up()
                raise TimeoutError(f"nothing came for {stall:.0f} s") from None


def _refused(what: str, error: Exception) -> None:
    """Raises TrainerError where trying again is no use."""
    said, kind = plainly(error), type(error).__name__
    if isinstance(error, FileNotFoundError) or kind in ("RepositoryNotFoundError", "NoSuchBucket"):
        hint = "check data.path and, if it is private, the credentials"
        raise TrainerError(f"{what}: there is no such thing: {said}", hint, WRONG_INPUT) from None
    status = getattr(error, "code", None) or getattr(getattr(error, "response", None), "status_code", None)
    forbidden = status in (401, 403) or str(error).startswith("Forbidden")  # gcsfs says it in words only
    if isinstance(error, PermissionError) or forbidden or kind in REFUSALS:
        hint = "give this host credentials that may read it (AWS_*, GOOGLE_APPLICATION_CREDENTIALS, HF_TOKEN)"
        raise TrainerError(f"{what}: the server refuses: {said}", hint, OUTSIDE_FAILED) from None
