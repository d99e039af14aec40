"""Time that has passed, whatever the clock was set to meanwhile."""

from __future__ import annotations

from fleet.clock import Clock

MOST = 3600.0  # seconds between two looks at the clock that are believed; beyond it, it was set


class Stopwatch:
    """Adds up what a clock shows between looks. A clock that is set back or far ahead counts as what was slept."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self._last = clock.now()
        self._passed = 0.0

    def passed(self) -> float:
        """Seconds since it was made."""
        self._count(0.0)
        return self._passed

    def sleep(self, seconds: float) -> None:
        """Waits, and counts at least that."""
        self._count(0.0)
        self.clock.sleep(seconds)
        self._count(seconds)

    def _count(self, least: float) -> None:
        now = self.clock.now()
        went = (now - self._last).total_seconds()
        self._last = now
        self._passed += least if went < least or went > MOST + least else went
