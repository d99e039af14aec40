"""`.stoker/measured.jsonl`: what the user's own runs measured, one JSON object a line; the newest of a run counts."""

from __future__ import annotations

import fcntl
import json
import os
import sys
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, get_type_hints

from cli.measured import measured_run
from fleet.capacity.speed.measured import Measured
from profiles.errors import OutsideFailed

NAME = "measured.jsonl"
UNREADABLE = "make it a file that you may read, move it away, or set STOKER_HOME to another folder"


def home(root: Path) -> Path:
    """The state folder of a checkout, or the one STOKER_HOME names."""
    return Path(os.environ.get("STOKER_HOME") or root / ".stoker").absolute()


def remember(folder: Path, run: Path) -> Measured:
    """Reads a run and keeps what it measured in the state folder. Raises WrongInput, CheckFailed and OutsideFailed.

    An attempt that is measured again replaces what was known of it; a line that says the same is not written twice.
    """
    measured, identity, attempt = measured_run(run)
    entry = {"run": identity, "attempt": attempt, "measured": asdict(measured)}
    path = folder / NAME
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with path.open("a+b") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)  # two runs that end at once
            stream.seek(0)
            content = stream.read()
            if _entries(content)[0].get((identity, attempt)) == measured:
                return measured
            # one write(2) on an O_APPEND descriptor; a torn tail of an earlier crash gets a line of its own
            torn = b"\n" if content and not content.endswith(b"\n") else b""
            line = torn + json.dumps(entry, allow_nan=False).encode() + b"\n"
            if os.write(stream.fileno(), line) != len(line):
                raise OSError(28, "No space left on device")
            os.fsync(stream.fileno())
    except OSError as error:
        raise OutsideFailed(f"cannot write {path}: {error.strerror}", "make room, or set STOKER_HOME") from None
    return measured


def remembered(folder: Path) -> list[Measured]:
    """All runs that were measured, in the order they were first met; damaged lines are told on stderr and passed over.

    Raises OutsideFailed when the file is there and cannot be read.
    """
    path = folder / NAME
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise OutsideFailed(f"cannot read {path}: {error.strerror}", UNREADABLE) from None
    found, damaged = _entries(content)
    if damaged:
        said = f"line {damaged[0]} is" if len(damaged) == 1 else f"{len(damaged)} lines ({_few(damaged)}) are"
        print(f"warning: {path}: {said} damaged and passed over", file=sys.stderr)
    return list(found.values())


def _entries(content: bytes) -> tuple[dict[tuple[str, int], Measured], list[int]]:
    """What the lines say by run and attempt, and the numbers of those that say nothing."""
    found: dict[tuple[str, int], Measured] = {}
    damaged = []
    for number, line in enumerate(content.split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
            found[str(entry["run"]), int(entry["attempt"])] = _measured(entry["measured"])
        except (ValueError, KeyError, TypeError, RecursionError):
            damaged.append(number)
    return found, damaged


def _measured(values: Any) -> Measured:
    """Raises TypeError or ValueError for what is none; keys of a later version are passed over."""
    kinds = get_type_hints(Measured)
    chosen = {field.name: values[field.name] for field in fields(Measured)}
    for name, value in chosen.items():
        wanted = float | int if kinds[name] is float else kinds[name]
        if isinstance(value, bool) or not isinstance(value, wanted):
            raise TypeError(name)
    if not 0 < chosen["tokens_per_second_per_gpu"] < 1e12:
        raise ValueError("tokens_per_second_per_gpu")
    return Measured(**chosen)


def _few(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers[:5])) + (", ..." if len(numbers) > 5 else "")
