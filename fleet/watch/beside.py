"""What takes long, beside the watching: limits of the other runs hold while one is brought back."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from fleet.clock import Clock
from profiles.errors import OutsideFailed, StokerError

Act = Callable[[str], None]
FIRST_PAUSE, LONGEST_PAUSE = 30.0, 900.0  # seconds after a failure that may pass: no capacity, no answer
MOST = 12  # of them in a row, before a person has to look


@dataclass(slots=True)
class Beside:
    """One thread a run. act: brings a run back, with a ledger of its own, so that the run's lock holds against the
    watcher too; trouble: takes a line for what failed. What may pass is tried again after a pause that doubles.

    A thread is a daemon: what it leaves when the watcher ends is in the ledger, as after a crash.
    """

    act: Act
    trouble: Callable[[str], None]
    clock: Clock
    gave_up: dict[str, str] = field(default_factory=dict)
    _threads: dict[str, threading.Thread] = field(default_factory=dict)
    _failures: dict[str, int] = field(default_factory=dict)

    def begin(self, run: str) -> None:
        """Starts it, unless it is under way."""
        if self.busy(run):
            return
        thread = threading.Thread(target=self._one, args=(run,), name=f"resume {run}", daemon=True)
        self._threads[run] = thread
        thread.start()

    def busy(self, run: str) -> bool:
        """Whether it is being brought back now, or paused for."""
        thread = self._threads.get(run)
        return thread is not None and thread.is_alive()

    def wait(self, seconds: float) -> None:
        """Until all of them have come back, `seconds` of the wall's clock at most for each."""
        for thread in list(self._threads.values()):
            thread.join(seconds)

    def _one(self, run: str) -> None:
        try:
            self.act(run)
            self._failures.pop(run, None)
        except OutsideFailed as failed:
            self._passes(run, failed)
        except StokerError as failed:
            self._gives_up(run, failed.what, failed.next_step)
        except Exception as unforeseen:  # its text may hold a secret
            self._gives_up(run, f"{type(unforeseen).__name__}", "this is a bug, please report it")

    def _passes(self, run: str, failed: OutsideFailed) -> None:
        count = self._failures[run] = self._failures.get(run, 0) + 1
        if count >= MOST:
            return self._gives_up(run, f"{failed.what}, {count} times in a row", failed.next_step)
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (count - 1))
        self.trouble(f"{run}: not brought back yet: {failed.what}; again in {pause:.0f} s")
        return self.clock.sleep(pause)

    def _gives_up(self, run: str, what: str, step: str) -> None:
        self.gave_up[run] = what
        self.trouble(f"{run}: not brought back: {what}" + (f"; {step}" if step else ""))
