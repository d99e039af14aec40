"""Being asked to stop. Installed before torch is imported: as process 1 of a container we have no default handlers,
and a SIGTERM during the import would be lost."""

from __future__ import annotations

import signal
from types import FrameType

# SIGUSR1: what Slurm and some providers send some minutes before they take the machine
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)


class StopRequest:
    """Remembers the first SIGTERM, SIGINT or SIGUSR1; the loop looks at it between steps."""

    def __init__(self) -> None:
        self.reason = ""

    def install(self) -> None:
        """Takes over the signals. A hang-up is not one of them: a lost ssh connection ends no training."""
        for number in SIGNALS:
            signal.signal(number, self._note)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # ranks that are started from here inherit it

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self.reason = self.reason or signal.Signals(number).name
