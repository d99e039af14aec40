"""The folder of one plain process: what was ordered, which process it is, how it ended, what it said."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fleet.providers.local import begin
from fleet.providers.values import State

BEGINS = 60.0  # seconds from the order until a process that is not known has failed
WELL = (0, 75, -signal.SIGTERM, -signal.SIGKILL, 128 + signal.SIGTERM, 128 + signal.SIGKILL)
POLL = 0.1


@dataclass(frozen=True, slots=True)
class Folder:
    """order.json: written before anything starts; process.json: by begin.py, before the process does; code: its end;
    ended: nothing may start here any more; log: both outputs."""

    path: Path

    def make(self, order: Mapping[str, Any]) -> None:
        """Raises FileExistsError when the tag was used before, OSError for a full disk."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.mkdir(mode=0o700)
        draft = self.path / ".order.json"
        with draft.open("w", encoding="utf-8") as file:
            json.dump(order, file)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self.path / "order.json")

    def known(self) -> bool:
        return (self.path / "order.json").is_file()

    def order(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.path / "order.json").read_text("utf-8"))
        return found

    def made(self) -> datetime:
        return datetime.fromtimestamp((self.path / "order.json").stat().st_mtime, UTC)

    def process(self) -> int:
        """Its pid, 0 when it does not live: a process of that number after another start or boot is another one."""
        with suppress(OSError, ValueError, KeyError, TypeError):
            known = json.loads((self.path / "process.json").read_text("utf-8"))
            text = Path(f"/proc/{int(known['pid'])}/stat").read_text().rpartition(")")[2].split()
            if known["boot"] == begin.boot() and known["start"] == text[19] and text[0] not in "ZX":
                return int(known["pid"])
        return 0

    def alive(self) -> bool:
        return self.process() > 0

    def began(self) -> bool:
        """Whether a process was ever known here."""
        return (self.path / "process.json").exists()

    def state(self) -> tuple[State, str]:
        """(state, in words)."""
        if self.alive():
            return State.RUNNING, ""
        if not self.began():
            waiting = time.time() - (self.path / "order.json").stat().st_mtime < BEGINS
            return (State.STARTING, "begins") if waiting else (State.FAILED, "never began")
        try:
            code = int((self.path / "code").read_text())
        except (OSError, ValueError):
            return State.FAILED, "ended without a word: this machine was restarted, or it was killed"
        words = f"exit code {code}" if code >= 0 else f"signal {-code}"
        return (State.STOPPED if code in WELL else State.FAILED), words

    def forbid(self) -> None:
        """Nothing starts here from now on; begin.py looks under the same lock."""
        with (self.path / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            (self.path / "ended").touch()

    def end(self, seconds: float) -> None:
        """SIGTERM to the process; after `seconds` SIGKILL to it and to all that it left behind."""
        if process := self.process():
            with suppress(OSError):
                os.kill(process, signal.SIGTERM)
        until = time.monotonic() + seconds
        while self.alive() and time.monotonic() < until:
            time.sleep(POLL)
        for _ in range(50):
            left = self.leftovers()
            if not left:
                return
            for process in left:
                with suppress(OSError):
                    os.kill(process, signal.SIGKILL)
            time.sleep(POLL)

    def leftovers(self) -> list[int]:
        """Living processes that have the tag in their environment: ours whatever became of their parents."""
        mark, found = b"STOKER_TAG=" + self.path.name.encode(), []
        for path in Path("/proc").glob("[0-9]*"):
            with suppress(OSError, IndexError):
                dead = (path / "stat").read_text().rpartition(")")[2].split()[0] in "ZX"
                if not dead and mark in (path / "environ").read_bytes().split(b"\0"):
                    found.append(int(path.name))
        return found

    def logs(self, tail: int, follow: bool) -> Iterator[str]:
        """Its last `tail` lines, then with `follow` what comes until it has ended."""
        try:
            file = (self.path / "log").open("rb")
        except OSError:
            return
        with file:
            lines = file.read().split(b"\n")
            rest = lines.pop()
            yield from (line.decode(errors="replace") for line in (lines[-tail:] if tail else []))
            while follow:
                alive = self.alive()
                *lines, rest = (rest + file.read()).split(b"\n")
                yield from (line.decode(errors="replace") for line in lines)
                if not alive:
                    break
                time.sleep(POLL)
            if rest:
                yield rest.decode(errors="replace")
