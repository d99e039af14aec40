"""Ctrl-C and SIGTERM for commands that have no step to finish: they end with one line and exit code 75.

`train` and `sft` take the signals over from here (see stop.py).
"""

from __future__ import annotations

import signal
from types import FrameType

_asked = False


def install() -> None:
    """From now on SIGINT and SIGTERM raise KeyboardInterrupt; one that is ignored (nohup, `&` in a script) stays so."""
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _interrupt)


def again() -> None:
    """Raises KeyboardInterrupt once more, if there was one: importing torch can swallow it."""
    if _asked:
        raise KeyboardInterrupt


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    global _asked
    _asked = True
    raise KeyboardInterrupt
