"""The process beside the training: looks for new checkpoints, sends them, waits out what fails, and ends in order."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from trainer.checkpoint import folder
from trainer.errors import CHECK_FAILED, OUTSIDE_FAILED, STOPPED_EARLY
from trainer.stores.open import open_store
from trainer.stores.store import Store
from trainer.sync import status
from trainer.sync.alive import Life
from trainer.sync.attend import Attended, Ended, Voice
from trainer.sync.pace import Pace
from trainer.sync.patience import Patience
from trainer.sync.prune import Rules
from trainer.sync.push import Pushed, push

LOOK = 0.5  # seconds between two looks at the run folder
TROUBLE = "remote"


@dataclass(frozen=True)
class Wishes:
    """every: seconds between passes, None for one pass; stall: seconds without a byte until a pass is ended and made
    again; grace: seconds that it goes on after SIGTERM; rate: bytes per second, 0 for no limit; parent: the process
    whose end is ours; adopt: see push."""

    every: float | None = None
    stall: float = 120.0
    grace: float = 20.0
    rate: float = 0.0
    parent: Life | None = None
    adopt: bool = False
    until_done: bool = False  # with every None: tries without end
    rules: Rules = field(default_factory=Rules)
    patience: Patience = field(default_factory=Patience)


@dataclass
class Ending:
    """Why and how it ends. deadline: by time.monotonic(); tries: failures in a row until it gives up."""

    reason: str
    deadline: float = float("inf")
    tries: int = 1 << 30
    fresh: bool = True  # a pass that begins from now on is still wanted


class Syncing:
    """Passes over one run, each in a process of its own (see attend). opened: makes the store, in that process."""

    def __init__(
        self,
        run: Path,
        url: str,
        wishes: Wishes,
        log: status.Log,
        heard: Callable[[dict[str, Any]], None] = lambda _: None,
        opened: Callable[[str], Store] = open_store,
    ) -> None:
        self.run, self.url, self.wishes, self.log, self._heard, self._opened = run, url, wishes, log, heard, opened
        self.status = status.Status(run, url, os.getpid())
        self.pushed = Pushed()
        self.error: Ended | None = None
        self.ending: Ending | None = None
        self._child: Attended | None = None
        self._next = time.monotonic()
        self._failed = 0
        self._seen: set[str] = set()
        self._signals: list[tuple[signal.Signals, float]] = []
        self._planned = False  # whether a pass of this process has seen the store
        if wishes.every is None:
            self.ending = Ending("one pass", tries=1 << 30 if wishes.until_done else wishes.patience.tries)

    def go(self) -> int:
        """To the end; the exit code: 0 all is there; 75 something is not, and can still be sent; 1 something cannot
        be sent at all; 3 the store or the run folder failed (one pass)."""
        self._listen()
        self.log.say(f"syncing {self.run} to {self.url}, process {os.getpid()}")
        self.status.write()
        try:
            while (code := self._turn()) is None:
                pass
        finally:
            if self._child is not None:
                self._child.kill("stopped")
        state = status.IDLE if code == 0 else status.FAILED if code in (CHECK_FAILED, OUTSIDE_FAILED) else None
        if self.run.is_dir():
            self.status.set(state=state or status.WAITING, pid=None)
            self.log.say(f"ended ({self.ending.reason if self.ending else 'gone'}), exit code {code}")
        return code

    def _turn(self) -> int | None:
        """A little of it; the exit code when it is over."""
        if not self.run.is_dir():
            self.ending = Ending("the run folder is gone")
            return OUTSIDE_FAILED
        self._look()
        ending = self.ending
        if ending is not None and time.monotonic() >= ending.deadline:
            return self._verdict("the time is over")
        if self._child is not None:
            ended = self._child.poll(LOOK)
            if ended is not None:
                self._child = None
                return self._judge(ended)
            return None
        if time.monotonic() >= self._next:
            return self._start()
        until = min(self._next, ending.deadline if ending else self._next)
        time.sleep(max(0.0, min(LOOK, until - time.monotonic())))
        return None

    def _start(self) -> int | None:
        self._seen = self._names()
        if self.ending is not None:
            self.ending.fresh = False
        self.status.set(state=status.SENDING)
        try:
            self._child = Attended(self._pass, self.wishes.stall, self._news)
        except OSError as error:  # no memory, or too many processes
            return self._failure(Ended(what=f"no process for the transfer: {error.strerror}", exit_code=OUTSIDE_FAILED))
        return None

    def _pass(self, voice: Voice) -> Any:
        """In the child."""
        store = self._opened(self.url)
        pace = Pace(self.wishes.rate, voice.moved)

        def told(pushed: Pushed) -> None:
            voice.tell(pushed=pushed.to_json())

        def expect(count: int) -> None:
            voice.tell(expect=count)

        try:
            rules, adopt = self.wishes.rules, self.wishes.adopt
            return push(self.run, store, pace, voice.say, rules, told, expect, adopt).to_json()
        finally:
            store.close()

    def _news(self, news: dict[str, Any]) -> None:
        if "moved" in news:
            self.status.moved(news["moved"])
        if "say" in news:
            text = news["say"]
            if text.startswith("WARNING"):
                self.log.loud(text, text)
            else:
                self.log.say(text)
        if "pushed" in news:
            self._take(Pushed(**news["pushed"]))
        self._heard(news)

    def _take(self, pushed: Pushed) -> None:
        self.pushed, self._planned = pushed, True
        self.status.set(checkpoints=pushed.there, skipped=pushed.skipped, seals=pushed.seals)

    def _judge(self, ended: Ended) -> int | None:
        """What follows from a pass."""
        if ended.what is None:
            self._take(Pushed(**ended.value))
            self._failed, self.error = 0, None
            self.log.over(TROUBLE)
            unfit = [f"{name} is not sent: {reason}" for name, reason in self.pushed.reasons.items()]
            self.status.set(state=status.IDLE, error=unfit[0] if unfit else self.pushed.doubt)
            self.status.write()  # the time of the last look, also when all is as before
            self._next = time.monotonic() + (self.wishes.every or 0.0)
            if self._new() or (self.ending is not None and self.ending.fresh):
                self._next = time.monotonic()
            elif self.ending is not None:
                return self._verdict("done")
            return None
        return self._failure(ended)

    def _failure(self, ended: Ended) -> int | None:
        self._failed = 1 if self.pushed.sent else self._failed + 1
        self.pushed.sent, self.error = [], ended
        pause = self.wishes.patience.pause(self._failed, ended.transient, ended.after)
        self._next = time.monotonic() + pause
        self.status.set(state=status.WAITING if ended.transient else status.FAILED, error=ended.what)
        if self.ending is not None and (not ended.transient or self._failed >= self.ending.tries):
            return self._verdict(ended.what or "")
        hint = f" ({ended.next_step})" if ended.next_step else ""
        text = f"WARNING: {self.url}: {ended.what}{hint}; again in {pause:.0f} s"
        if ended.transient and self._failed < 3 and self.wishes.every is not None:
            self.log.say(text)
        else:
            self.log.loud(text, TROUBLE)
        return None

    def unsent(self) -> list[str]:
        """Checkpoints that are here and should be at the store, as far as is known."""
        names = self._names()
        return sorted(names & ({*self.pushed.unsent} | self._new()) if self._planned else names)

    def _verdict(self, reason: str) -> int:
        unsent, once = self.unsent(), self.wishes.every is None
        self.log.say(f"ending: {reason}; {len(unsent)} checkpoints are not at {self.url}")
        if once and self.error is not None:
            return self.error.exit_code or OUTSIDE_FAILED
        if not unsent:
            return 0 if self.error is None else STOPPED_EARLY
        hopeless = all(name in self.pushed.reasons for name in unsent)
        return CHECK_FAILED if once and hopeless else STOPPED_EARLY

    def _look(self) -> None:
        """Whether there is something new to send, or nobody left to send it for."""
        while self._signals:
            self._obey(*self._signals.pop(0))
        if self._child is None and self._failed == 0 and self._new():
            self._next = min(self._next, time.monotonic())
        if self.ending is None and self.wishes.parent is not None and self.wishes.parent.over():
            self._end(Ending("its parent is gone", tries=self.wishes.patience.tries))

    def _new(self) -> set[str]:
        """Checkpoints that have appeared since the last pass began, and that it has not dealt with."""
        return self._names() - self._seen - self.pushed.seals.keys()

    def _names(self) -> set[str]:
        return {path.name for path in folder.found(self.run / "checkpoints")}

    def _end(self, ending: Ending) -> None:
        self.ending = ending
        self._next = time.monotonic()
        self._failed = 0

    def _listen(self) -> None:
        """A signal only leaves a note: it may come in the middle of anything."""

        def note(number: int, _: FrameType | None) -> None:
            self._signals.append((signal.Signals(number), time.monotonic()))

        signal.signal(signal.SIGTERM, note)
        if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
            signal.signal(signal.SIGINT, note)
        signal.signal(signal.SIGUSR1, note)

    def _obey(self, number: signal.Signals, when: float) -> None:
        limited = self.ending is not None and self.ending.deadline < float("inf")
        if number == signal.SIGUSR1:
            if not limited:
                self._end(Ending("asked for a last pass"))
            return
        fresh = self.ending is None or self.ending.fresh
        grace = 0.0 if limited else self.wishes.grace  # the second one is meant
        self._end(Ending(number.name, when + grace, fresh=fresh))
