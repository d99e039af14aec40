"""Where checkpoints lie: RUN/checkpoints/step-XXXXXXXX/, the pointers `latest` and `best`, and what a kill leaves."""

from __future__ import annotations

import os
import re
import shutil
from contextlib import suppress
from pathlib import Path

LATEST = "latest"
BEST = "best"
POINTERS = (LATEST, BEST)
NAME = re.compile(r"step-(\d{8,})\Z")
# of killed processes, drafts of `replace` among them; `.incoming-*` are downloads that can go on
LEFT_OVER = (".staging-*", ".discarded-*", f".{LATEST}.*", f".{BEST}.*")


def name_of(step: int) -> str:
    """Folder name of a step; sorts as the steps do."""
    return f"step-{step:08d}"


def step_of(name: str) -> int | None:
    """The step of a checkpoint's folder name; None for any other name."""
    match = NAME.match(name)
    return int(match[1]) if match else None


def found(root: Path) -> list[Path]:
    """The folders that look like checkpoints, newest step first, not verified."""
    there = [path for path in root.glob("step-*") if step_of(path.name) is not None and path.is_dir()]
    return sorted(there, key=lambda path: step_of(path.name) or 0, reverse=True)


def pointed(root: Path, pointer: str) -> Path | None:
    """The folder that `latest` or `best` names, when it is there."""
    try:
        name = (root / pointer).read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return None
    folder = root / name
    return folder if step_of(name) is not None and folder.is_dir() else None


def point(root: Path, pointer: str, name: str) -> None:
    """Makes `latest` or `best` name a checkpoint; whole or not at all."""
    replace(root / pointer, (name + "\n").encode())


def replace(path: Path, content: bytes) -> None:
    """Gives a file its new content: the old or all of the new one is there, also after a power cut."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with draft.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    flush(path.parent)


def discard(folder: Path) -> None:
    """Removes a checkpoint. Renamed first: a half deleted one must not look like a damaged one."""
    grave = folder.with_name(f".discarded-{folder.name}")
    shutil.rmtree(grave, ignore_errors=True)
    folder.rename(grave)
    shutil.rmtree(grave, ignore_errors=True)


def sweep(root: Path) -> None:
    """Removes what killed processes left half done. Only for the process that owns the run."""
    for pattern in LEFT_OVER:
        for path in root.glob(pattern):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                with suppress(OSError):
                    path.unlink()


def flush(path: Path) -> None:
    """fsync of a file or folder."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
