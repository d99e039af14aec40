"""Whether a process still lives."""

from __future__ import annotations

import os
from pathlib import Path


class Life:
    """Of one process, from now on: a new one that is given its number later is another."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._began = _stat(pid)[1]

    def over(self) -> bool:
        """Whether it has ended; a zombie has."""
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            pass
        state, began = _stat(self.pid)
        return state in ("Z", "X") or began != self._began


def _stat(pid: int) -> tuple[str, str]:
    """State and start time, proc(5): fields 3 and 22; the second, the command, may hold anything, also brackets."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        return fields[0], fields[19]
    except (OSError, IndexError):  # a system without /proc
        return "", ""
