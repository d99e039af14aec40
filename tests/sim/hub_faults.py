"""What can go wrong between a client and the simulated Hub, set per test, and what went over the line."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class Call:
    """One request: `what` is "METHOD /path?query"; received and sent are bytes of bodies."""

    what: str
    headers: dict[str, str] = field(default_factory=dict)
    status: int = 0
    received: int = 0
    sent: int = 0


@dataclass
class Fault:
    """kind: status, cut (after `after` bytes of the request's body, or of the answer's where there is none), stall,
    before (`act` is called first)."""

    kind: str
    pattern: str
    times: int
    status: int = 0
    message: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    after: int = 0
    seconds: float = 0.0
    act: Callable[[], object] | None = None


class Faults:
    """Patterns are searched for in "METHOD /path?query"; a fault is used up after `times` requests."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._planned: list[Fault] = []
        self._lost: list[bool] = []
        self.calls: list[Call] = []
        self.closing = threading.Event()  # ends stalls when the server goes
        self.quota: int | None = None  # bytes of LFS objects per user; more is answered as the Hub answers it
        self.seconds_per_byte = 0.0

    def answer(
        self, pattern: str, status: int, times: int = 1, message: str = "", headers: dict[str, str] | None = None
    ) -> None:
        """The next `times` matching requests get `status`; headers for instance {"Retry-After": "7"}."""
        self._plan(Fault("status", pattern, times, status, message, headers or {}))

    def cut(self, pattern: str, after: int = 0, times: int = 1) -> None:
        """The connection is cut after `after` bytes of what is being transferred."""
        self._plan(Fault("cut", pattern, times, after=after))

    def stall(self, pattern: str, seconds: float, times: int = 1) -> None:
        """Nothing happens for that long, then the request goes on."""
        self._plan(Fault("stall", pattern, times, seconds=seconds))

    def before(self, pattern: str, act: Callable[[], object], times: int = 1) -> None:
        """`act` is called, and done, before the request is looked at: what somebody else does in that moment."""
        self._plan(Fault("before", pattern, times, act=act))

    def lose(self, times: int = 1, noticed: bool = True) -> None:
        """An upload is answered with 200 and not kept. noticed: the Hub knows, once it looks; otherwise only whoever
        fetches the object finds out."""
        with self._lock:
            self._lost += [noticed] * times

    def clear(self) -> None:
        with self._lock:
            self._planned.clear()
            self._lost.clear()
        self.quota, self.seconds_per_byte = None, 0.0

    def _plan(self, fault: Fault) -> None:
        re.compile(fault.pattern)
        with self._lock:
            self._planned.append(fault)

    # for the server

    def take(self, kind: str, what: str) -> Fault | None:
        with self._lock:
            for fault in self._planned:
                if fault.kind == kind and re.search(fault.pattern, what):
                    fault.times -= 1
                    if fault.times <= 0:
                        self._planned.remove(fault)
                    return fault
        return None

    def lost(self) -> bool | None:
        """None: keep the upload; otherwise whether the Hub notices that it did not."""
        with self._lock:
            return self._lost.pop(0) if self._lost else None

    def record(self, call: Call) -> None:
        with self._lock:
            self.calls.append(call)

    # for tests

    def matching(self, pattern: str = "") -> list[Call]:
        with self._lock:
            return [call for call in self.calls if re.search(pattern, call.what)]

    def count(self, pattern: str = "") -> int:
        return len(self.matching(pattern))

    def received(self, pattern: str = "") -> int:
        """Bytes of request bodies."""
        return sum(call.received for call in self.matching(pattern))

    def sent(self, pattern: str = "") -> int:
        """Bytes of answers' bodies."""
        return sum(call.sent for call in self.matching(pattern))

    def forget(self) -> None:
        with self._lock:
            self.calls.clear()
