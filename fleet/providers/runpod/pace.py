"""RunPod's pace: fewer requests in a minute than its documents' example of a limit (providers.md 0.4, 1.3)."""

from __future__ import annotations

import threading
from collections import deque
from datetime import datetime

from fleet.clock import Clock

MOST, WINDOW = 50, 60.0  # requests, seconds: the example's limit is 60


class Pace:
    """Called before each request: waits while MOST of them lie in the last WINDOW seconds."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.sent: deque[datetime] = deque(maxlen=MOST)
        self._turn = threading.Lock()  # threads wait one behind the other

    def __call__(self, method: str, path: str) -> None:
        with self._turn:
            now = self.clock.now()
            if len(self.sent) == MOST:
                wait = WINDOW - (now - self.sent[0]).total_seconds()
                if 0 < wait <= WINDOW:  # more: somebody has set the clock back
                    self.clock.sleep(wait)
                    now = self.clock.now()
            self.sent.append(now)
