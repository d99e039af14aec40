"""The files a run tells its story in: JSON lines (`*_metrics.jsonl`) and words (`training.log`)."""

from __future__ import annotations

import json
import math
import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TextIO

from trainer.metrics.append import Appender

TRAINING = "training_metrics.jsonl"
PERFORMANCE = "performance_metrics.jsonl"
GPU = "gpu_metrics.jsonl"
WORDS = "training.log"
TAIL = 65536  # bytes that surely hold a whole line

Record = dict[str, Any]


class JsonLines:
    """One JSON object a line. Never raises on a bad disk; see Appender.

    Every line has `event`, `attempt`, `time` (seconds since 1970, UTC, as the wall clock says, which may jump) and `up`
    (seconds since the attempt began, by a clock that cannot jump: the one to take durations from). Numbers that are
    not finite become null, since JSON has no NaN.

    attempt: None continues the numbering of this file; the other files of the run are given the same number.
    began: time.monotonic() when the attempt began (trainer.metrics.system.process_began()). also: is given each line.
    """

    def __init__(
        self,
        path: Path,
        attempt: int | None = None,
        began: float | None = None,
        say: Callable[[str], None] | None = None,
        also: Callable[[Record], None] | None = None,
    ) -> None:
        self.began = time.monotonic() if began is None else began
        self._also = also
        self._file = Appender(path, say)
        self.attempt = 1 + last_attempt(path) if attempt is None else attempt

    @property
    def path(self) -> Path:
        """The file."""
        return self._file.path

    @property
    def lost(self) -> int:
        """Lines that could not be written."""
        return self._file.lost

    @property
    def cut(self) -> int:
        """Bytes of torn tail that an earlier attempt left and that were cut."""
        return self._file.cut

    def add(self, event: str, **values: Any) -> Record:
        """Writes one line; gives back what it says. A value named as one of the four own fields replaces it."""
        line = {**self._own(event), **{name: plain(value) for name, value in values.items()}}
        self._file.write(_encode(line), self._gap)
        if self._also is not None:
            self._also(line)
        return line

    def sync(self) -> None:
        """To the disk: once per checkpoint is enough, a killed process loses nothing without it."""
        self._file.sync()

    def close(self) -> None:
        """To the disk, and closed."""
        self._file.close()

    def _own(self, event: str) -> Record:
        up = max(0.0, time.monotonic() - self.began)
        return {"event": event, "attempt": self.attempt, "time": round(time.time(), 3), "up": round(up, 6)}

    def _gap(self, lines: int) -> bytes:
        return _encode({**self._own("lost"), "lines": lines})


class Words:
    """Sentences for people: `training.log` with the time in UTC, and standard error. Never raises.

    2026-03-01T12:00:00.123Z step=3000 Validation loss 3.1234
    """

    def __init__(self, path: Path | None, stream: TextIO | None = None) -> None:
        self._stream = stream
        self._file = Appender(path, self._aloud) if path is not None else None

    def say(self, text: str) -> None:
        """One line in the log and on standard error; line breaks become spaces."""
        line = " ".join(text.split("\n"))
        self._aloud(line)
        self.write(line)

    def warn(self, text: str) -> None:
        """The same, marked."""
        self.say(f"WARNING: {text}")

    def write(self, text: str) -> None:
        """In the log alone: the step lines, which standard output has already."""
        if self._file is not None:
            now = time.time()
            stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now % 1 * 1000):03d}Z"
            self._file.write(f"{stamp} {text}\n".encode("utf-8", "backslashreplace"))

    def close(self) -> None:
        """To the disk, and closed; later sentences still reach standard error."""
        if self._file is not None:
            self._file.close()

    def _aloud(self, text: str) -> None:
        stream = sys.stderr if self._stream is None else self._stream
        try:
            stream.write(f"trainer: {text}\n")
            stream.flush()
        except (OSError, ValueError, AttributeError):  # a closed terminal, a full disk behind it, no stream at all
            pass


def read(path: Path, tail_bytes: int | None = None) -> list[Record]:
    """All whole lines, oldest first, or those that begin within the last `tail_bytes`; empty without a file.

    What is no JSON object is passed over: the torn line of a killed process, zeros left by a crash.
    """
    try:
        with Path(path).open("rb") as stream:
            start = 0 if tail_bytes is None else max(0, stream.seek(0, os.SEEK_END) - tail_bytes - 1)
            stream.seek(start)
            content = stream.read()
    except OSError:
        return []
    if start:
        content = content[content.find(b"\n") + 1 :] if b"\n" in content else b""
    return parse(content)


def parse(content: bytes) -> list[Record]:
    """The JSON objects among these lines; what has no newline yet is no line."""
    found = []
    for line in content.split(b"\n")[:-1]:
        if not line.startswith(b"{"):
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict):
            found.append(value)
    return found


def last_attempt(path: Path) -> int:
    """Number of the newest attempt in the file; 0 without any."""
    try:
        size = Path(path).stat().st_size
    except OSError:
        return 0
    tail = TAIL
    while True:
        numbers: list[int] = [line["attempt"] for line in read(path, tail) if isinstance(line.get("attempt"), int)]
        if numbers:
            return max(0, *numbers)
        if tail >= size:
            return 0
        tail *= 16


def plain(value: Any) -> Any:
    """As JSON has it: numbers of numpy and torch as Python's, not finite as null, the unknown as its text."""
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if hasattr(value, "item") and getattr(value, "ndim", 0) == 0:
        return plain(value.item())
    return str(value)


def _encode(line: Record) -> bytes:
    return (json.dumps(line, allow_nan=False, separators=(", ", ": ")) + "\n").encode()
