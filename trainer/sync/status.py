"""What the sync process tells: RUN/sync.json for machines, RUN/sync.log for people."""

from __future__ import annotations

import json
import logging
import logging.handlers
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from trainer.checkpoint.folder import replace

FILE = "sync.json"
LOG = "sync.log"
LOG_BYTES = 1_000_000
LOGS = 3
OFTEN = 2.0  # seconds between two writes that only say how far it is
LOUD = 600.0  # seconds between two loud lines about one trouble

IDLE, SENDING, WAITING, FAILED = "idle", "sending", "waiting", "failed"


class Status:
    """RUN/sync.json, whole, by rename.

    {"remote": URL, "checkpoints": names that are complete at the store, "skipped": names here that are not worth
    sending (a newer one is there), "seals": by name, what those two were when they were found to be ours, "time":
    seconds since 1970, "state": idle, sending, waiting (for another try) or failed (another try will hardly help),
    "error": its first line, or why a checkpoint is not sent, or null, "sent_bytes": since this process began, "pid"}.
    What an earlier process saw stays until the store was seen again.
    """

    def __init__(self, run: Path, url: str, pid: int) -> None:
        before = read(run)
        same = before.get("remote") == url
        self.path = run / FILE
        self.content: dict[str, Any] = {
            "remote": url,
            "checkpoints": before.get("checkpoints", []) if same else [],
            "skipped": before.get("skipped", []) if same else [],
            "seals": before.get("seals", {}) if same else {},
            "state": IDLE,
            "error": None,
            "sent_bytes": 0,
            "pid": pid,
        }
        self._written = 0.0

    def set(self, **values: Any) -> None:
        """Writes it if anything is new."""
        if any(self.content.get(name) != value for name, value in values.items()):
            self.content.update(values)
            self.write()

    def moved(self, count: int) -> None:
        """So many bytes more."""
        self.content["sent_bytes"] += count
        if time.monotonic() - self._written >= OFTEN:
            self.write()

    def write(self) -> None:
        """A disk that is full or gone is no reason not to sync."""
        self._written = time.monotonic()
        try:
            replace(self.path, (json.dumps({**self.content, "time": time.time()}, indent=1) + "\n").encode())
        except OSError:
            pass


def read(run: Path) -> dict[str, Any]:
    """What is there; {} without one."""
    try:
        content = json.loads((run / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


class Log:
    """RUN/sync.log with the time in UTC, rotated; `loud` lines go to people besides, each trouble at most every ten
    minutes. Never raises."""

    def __init__(self, run: Path, aloud: Callable[[str], None]) -> None:
        self._aloud = aloud
        self._said: dict[str, float] = {}
        self._handler: logging.Handler = logging.NullHandler()
        try:
            self._handler = logging.handlers.RotatingFileHandler(
                run / LOG, maxBytes=LOG_BYTES, backupCount=LOGS - 1, encoding="utf-8", errors="backslashreplace"
            )
        except OSError:
            pass
        # handleError: logging's own would print a traceback for each line on a full disk
        self._handler.handleError = lambda record: None  # type: ignore[method-assign]
        stamp = logging.Formatter("%(asctime)s.%(msecs)03dZ %(message)s", "%Y-%m-%dT%H:%M:%S")
        stamp.converter = time.gmtime
        self._handler.setFormatter(stamp)

    def say(self, text: str) -> None:
        """One line in the log."""
        line = " ".join(text.split("\n"))
        self._handler.handle(logging.LogRecord("sync", logging.INFO, "", 0, line, None, None))

    def loud(self, text: str, trouble: str) -> None:
        """One line for people too, unless the same trouble was told a short while ago."""
        self.say(text)
        now = time.monotonic()
        if now - self._said.get(trouble, -LOUD) >= LOUD:
            self._said[trouble] = now
            self._aloud(text)

    def over(self, trouble: str) -> None:
        """It has passed; the next time it is news again."""
        self._said.pop(trouble, None)
