"""The run folder: where it is, who owns it, and its metrics.

RUN/config.json      what the run was started with
RUN/metrics.jsonl    one JSON object a line, only ever appended to; a resumed run repeats the steps it lost
RUN/checkpoints/     see checkpoint.py
RUN/trainer.lock     locked (flock) while a trainer lives; holds its process id
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from trainer.errors import OUTSIDE_FAILED, REFUSED, TrainerError

METRICS = "metrics.jsonl"
LOCK = "trainer.lock"
CONFIG = "config.json"
LOCK_SECONDS = 0.5  # a health check holds the lock for an instant


def default_folder(profile: Mapping[str, Any], home: Path) -> Path:
    """Where a run of this profile lives: STOKER_RUN_DIR, else the volume, else under the image's own folder.

    The name is the profile's, so that the same command on the same volume finds its checkpoints again.
    Raises TrainerError when none of the places can be written.
    """
    chosen = os.environ.get("STOKER_RUN_DIR")
    if chosen:
        return Path(chosen)
    name = profile.get("profile") or "run"
    volume = profile.get("volume")
    places = ([Path(volume)] if volume else []) + [home]
    for place in places:
        if place.is_dir() and os.access(place, os.W_OK | os.X_OK):
            return place / "runs" / name
    tried = ", ".join(str(place) for place in places)
    raise TrainerError(
        f"no writable place for the run (tried {tried})", "set STOKER_RUN_DIR or give --run FOLDER", OUTSIDE_FAILED
    )


def outlives_container(folder: Path) -> bool:
    """Whether the folder or a parent of it, other than the root, is a mount: else it vanishes with the container."""
    return any(os.path.ismount(parent) for parent in [folder, *folder.parents][:-1])


@contextmanager
def owned(folder: Path) -> Iterator[None]:
    """Holds the run folder for this process. The kernel lets go when the process dies, however it dies.

    Raises TrainerError when another trainer holds it or the folder cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise TrainerError(f"cannot write the run folder {folder}: {error.strerror}", "give another --run") from None
    try:
        _lock(handle, folder)
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(handle)


def _lock(handle: int, folder: Path) -> None:
    deadline = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() < deadline:
                time.sleep(0.05)
                continue
            other = os.pread(handle, 32, 0).decode().strip() or "unknown"
            next_step = "wait for it, stop it, or give another --run"
            raise TrainerError(f"process {other} is training in {folder}", next_step, REFUSED) from None
        except OSError:
            return  # a file system without locks (some network volumes): one owner is then the user's promise


def is_owned(folder: Path) -> bool:
    """Whether a living trainer holds the run folder."""
    try:
        handle = os.open(folder / LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(handle)
    return False


class Metrics:
    """Appends JSON lines, each with one write: a killed process leaves at most one torn line, cut at the next start."""

    def __init__(self, folder: Path) -> None:
        self.handle = os.open(folder / METRICS, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        content = (folder / METRICS).read_bytes()
        if content and not content.endswith(b"\n"):
            os.ftruncate(self.handle, content.rfind(b"\n") + 1)
        self.attempt = 1 + sum(line.get("event") == "start" for line in read_metrics(folder))

    def add(self, event: str, **values: Any) -> dict[str, Any]:
        """Writes one line; gives back what it wrote."""
        line = {"event": event, "attempt": self.attempt, **values}
        os.write(self.handle, (json.dumps(line) + "\n").encode())
        return line

    def close(self) -> None:
        """Flushes to disk and closes."""
        os.fsync(self.handle)
        os.close(self.handle)


def read_metrics(folder: Path, tail: int | None = None) -> list[dict[str, Any]]:
    """All whole lines of the run's metrics, oldest first, or those in the last `tail` bytes; empty without any."""
    try:
        with (folder / METRICS).open("rb") as stream:
            if tail is not None:
                stream.seek(max(0, stream.seek(0, os.SEEK_END) - tail))
            lines = stream.read().splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        try:
            found.append(json.loads(line))
        except ValueError:
            continue  # torn: the last line of a killed process, or the first of a tail
    return found


def losses(folder: Path) -> dict[int, float]:
    """Loss by step; of a step done more than once the last. Raises TrainerError when two attempts disagree."""
    by_step: dict[int, float] = {}
    for line in read_metrics(folder):
        if line.get("event") != "step":
            continue
        before = by_step.setdefault(line["step"], line["loss"])
        if before != line["loss"]:
            what = f"step {line['step']} gave loss {before} and, after a resume, {line['loss']}"
            raise TrainerError(what, "the run is not deterministic: see train.deterministic", 1)
    return by_step
