"""Being asked to stop. Installed before torch is imported: as process 1 of a container we have no default handlers,
and a SIGTERM during the import would be lost."""

from __future__ import annotations

import signal
from types import FrameType


class StopRequest:
    """Remembers the first SIGTERM or SIGINT; the loop looks at it between steps."""

    def __init__(self) -> None:
        self.reason = ""

    def install(self) -> None:
        """Takes over SIGTERM and SIGINT."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._note)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self.reason = self.reason or signal.Signals(number).name
