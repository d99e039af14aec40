"""The run folder: where it is, who owns it, and what lies in it.

RUN/config.json      what the run was started with, every key, resolved
RUN/precision.json   what the precision policy answered, and why
RUN/training.log, RUN/*_metrics.jsonl    see metrics/; a resumed run repeats the steps it lost
RUN/tokenizer/       the tokenizer of its data, for sampling and export
RUN/checkpoints/     see checkpoint.py
RUN/end.json         at which step it ended, and why: see ended.py
RUN/trainer.lock     locked (flock) while a trainer lives; holds its process id
"""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from trainer.errors import OUTSIDE_FAILED, REFUSED, TrainerError
from trainer.metrics import log

LOCK = "trainer.lock"
CONFIG = "config.json"
PRECISION = "precision.json"
TOKENIZER = "tokenizer"
CHECKPOINTS = "checkpoints"
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


def keep_tokenizer(run: Path, save: Callable[[Path], object]) -> None:
    """Puts the tokenizer into the run folder, once. save: writes its files into a folder that is there.

    Whole or not at all: half of it, left by a kill, would be taken for all of it by every later attempt.
    """
    target, draft = run / TOKENIZER, run / f".{TOKENIZER}"
    if target.exists():
        return
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    save(draft)
    draft.rename(target)


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


def losses(folder: Path) -> dict[int, float]:
    """Loss by step; of a step done more than once the last. Raises TrainerError when two attempts disagree."""
    by_step: dict[int, float] = {}
    for line in log.read(folder / log.TRAINING):
        if line.get("event") != "step" or line.get("loss") is None:
            continue
        before = by_step.setdefault(line["step"], line["loss"])
        if before != line["loss"]:
            what = f"step {line['step']} gave loss {before} and, after a resume, {line['loss']}"
            raise TrainerError(what, "the run is not deterministic: see train.deterministic", 1)
    return by_step
