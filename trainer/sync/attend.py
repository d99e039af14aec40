"""A transfer in a process of its own that is ended when nothing moves: whatever a library is stuck in, a kill ends it.

The process is forked, so the caller must have no threads yet (a command before it has loaded torch). It speaks in JSON
lines over a pipe, and every line is a sign of life.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import select
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from trainer.errors import OUTSIDE_FAILED, TrainerError
from trainer.stores.store import StoreError

BEAT = 0.2  # seconds between two signs of life, at least
PR_SET_PDEATHSIG = 1  # prctl(2)


@dataclass(frozen=True)
class Ended:
    """How it went. value: what it gave back, when all went well; else what, next_step and exit_code of the error, and
    whether another try may help (transient) and not before how many seconds (after). broken: it did not end by itself,
    but was stuck, or killed."""

    value: Any = None
    what: str | None = None
    next_step: str = ""
    exit_code: int = 0
    transient: bool = True
    after: float | None = None
    broken: bool = False


class Voice:
    """How the process speaks; from any of its threads."""

    def __init__(self, pipe: int) -> None:
        self._pipe, self._last, self._bytes = pipe, 0.0, 0
        self._lock = threading.Lock()

    def moved(self, count: int) -> None:
        """A store's `moved`: a sign of life, and so many bytes."""
        with self._lock:
            self._bytes += count
            now = time.monotonic()
            if now - self._last >= BEAT:
                self._last = now
                self._flush()

    def tell(self, **news: Any) -> None:
        """One line of JSON."""
        with self._lock:
            self._flush()
            self._write(news)

    def say(self, text: str) -> None:
        """One line for people."""
        self.tell(say=text)

    def _flush(self) -> None:
        self._write({"moved": self._bytes})
        self._bytes = 0

    def _write(self, news: dict[str, Any]) -> None:
        line = (json.dumps(news) + "\n").encode()
        while line:
            line = line[os.write(self._pipe, line) :]


class Attended:
    """A running act(voice). stall: seconds without a sign of life until it is killed; heard: gets every line."""

    def __init__(self, act: Callable[[Voice], Any], stall: float, heard: Callable[[dict[str, Any]], None]) -> None:
        self.stall, self._heard = stall, heard
        self._rest = b""
        self._ended: Ended | None = None
        sys.stdout.flush()
        sys.stderr.flush()
        self._pipe, pipe = os.pipe()
        self.last = time.monotonic()
        parent = os.getpid()
        # between fork and the child's own dispositions a signal must not run the parent's
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT, signal.SIGUSR1})
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self._pipe)
            _child(act, Voice(pipe), parent, before)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        os.close(pipe)

    def poll(self, seconds: float) -> Ended | None:
        """Waits at most that long for news; how it ended, once it has. Kills it when it is stuck."""
        if not self.pid:
            return self._ended
        ready, _, _ = select.select([self._pipe], [], [], max(0.0, seconds))
        if ready:
            data = os.read(self._pipe, 1 << 16)
            self.last = time.monotonic()
            *lines, self._rest = (self._rest + data).split(b"\n")
            for line in lines:
                self._news(json.loads(line))
            if self._ended is not None:
                self.kill("")  # it is done; what it has started need not outlive it
            elif not data:
                self._reap()
        elif time.monotonic() - self.last > self.stall:
            self.kill(f"nothing moved for {self.stall:.0f} s: the transfer was ended")
        return None if self.pid else self._ended

    def kill(self, reason: str) -> None:
        """Ends it, and whatever it has started."""
        if self._ended is None:
            self._ended = Ended(what=reason, next_step="the next try goes on", exit_code=OUTSIDE_FAILED, broken=True)
        if self.pid:
            try:
                os.killpg(self.pid, signal.SIGKILL)
            except ProcessLookupError:  # it has no group of its own yet
                os.kill(self.pid, signal.SIGKILL)
            self._reap()

    def _news(self, news: dict[str, Any]) -> None:
        if "ended" in news:
            self._ended = Ended(**news["ended"])
        else:
            self._heard(news)

    def _reap(self) -> None:
        if not self.pid:
            return
        _, status = os.waitpid(self.pid, 0)
        self.pid = 0
        os.close(self._pipe)
        if self._ended is None:
            code = os.waitstatus_to_exitcode(status)
            cause = f"signal {-code}" if code < 0 else f"exit code {code}"
            what = f"the process that transfers ended without a word ({cause})"
            self._ended = Ended(what=what, next_step="the next try goes on", exit_code=OUTSIDE_FAILED, broken=True)


def attended(act: Callable[[Voice], Any], stall: float, heard: Callable[[dict[str, Any]], None]) -> Ended:
    """`act(voice)` to its end; the process goes when we do."""
    running = Attended(act, stall, heard)
    try:
        while (ended := running.poll(1.0)) is None:
            pass
    finally:
        running.kill("stopped")
    return ended


def _child(act: Callable[[Voice], Any], voice: Voice, parent: int, mask: Any) -> None:
    """Never returns."""
    code = 1
    try:
        os.setsid()  # a Ctrl-C of the terminal is the parent's to judge; and one kill reaches all we start
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        _die_with(parent)
        voice.tell(ended=_act(act, voice))
        code = 0
    finally:
        os._exit(code)


def _act(act: Callable[[Voice], Any], voice: Voice) -> dict[str, Any]:
    try:
        return {"value": act(voice)}
    except StoreError as error:
        told = {"what": error.what, "next_step": error.next_step, "exit_code": error.exit_code}
        return {**told, "transient": error.transient, "after": error.after}
    except TrainerError as error:
        told = {"what": error.what, "next_step": error.next_step, "exit_code": error.exit_code}
        return {**told, "transient": False}
    except Exception as error:
        return {"what": plainly(error), "exit_code": OUTSIDE_FAILED, "transient": False}


def plainly(error: BaseException) -> str:
    """An error that nobody expected: its first line, without what could be a key in it, and where it arose."""
    line = next(iter(str(error).strip().splitlines()), "")
    line = re.sub(r"\?[^\s'\"]+", "?...", line)
    line = re.sub(r"//[^/\s@]+@", "//...@", line)[:200]
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({frames[-1].name}, line {frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {line}{where}"


def _die_with(parent: int) -> None:
    """The kernel kills us when the parent dies, however it dies."""
    try:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    except (OSError, AttributeError):  # another libc: the pipe then breaks with the next sign of life
        pass
    if os.getppid() != parent:
        os._exit(1)
