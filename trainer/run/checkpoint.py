"""Checkpoints that are there or not there, never half: staging folder, fsync, manifest of hashes, rename, pointer.

A run's `checkpoints/` holds `step-00000050/` folders with a `manifest.json` each, and `latest`, a text file with the
name of the newest. No torch in here: what a checkpoint holds is the business of who calls.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from trainer.errors import OUTSIDE_FAILED, TrainerError

MANIFEST = "manifest.json"
POINTER = "latest"
BEST = "best"
Report = Callable[[str], None]


def save(
    root: Path,
    step: int,
    write: Callable[[Path], None],
    facts: Mapping[str, Any],
    keep: int,
    protect: frozenset[str] = frozenset(),
) -> Path:
    """Makes the checkpoint of `step` and points `latest` at it; then drops older ones, so that `keep` are left.

    write: fills an empty folder; facts: JSON for the manifest; protect: names that stay, whatever their age. A good
    checkpoint of the same step is kept as it is. Raises TrainerError when the disk fails; what was there before is then
    still there.
    """
    with explained(root, step):
        staging = stage(root, step)
        if staging is not None:
            write(staging)
        return publish(root, step, staging, facts, keep, protect)


@contextmanager
def explained(root: Path, step: int) -> Iterator[None]:
    """A disk that fails becomes a TrainerError, and what was half written goes."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        # torch.save reports a full disk as RuntimeError (PytorchStreamWriter)
        if isinstance(error, RuntimeError) and "PytorchStreamWriter" not in str(error):
            raise
        sweep(root)
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        hint = "make room or mend the disk, then run the same command again"
        raise TrainerError(
            f"cannot save the checkpoint of step {step} in {root}: {reason}", hint, OUTSIDE_FAILED
        ) from error


def stage(root: Path, step: int) -> Path | None:
    """An empty folder for the files of this step's checkpoint; None when a good one is there already."""
    root.mkdir(parents=True, exist_ok=True)
    target = root / name_of(step)
    if target.exists() and fault(target) is None:
        return None
    staging = root / f".staging-{target.name}"
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir()
    return staging


def publish(
    root: Path,
    step: int,
    staging: Path | None,
    facts: Mapping[str, Any],
    keep: int,
    protect: frozenset[str],
    pointers: Sequence[str] = (POINTER,),
) -> Path:
    """Hashes and renames what `stage` gave and others filled, moves the pointers (`latest`, perhaps `best`), and only
    then drops older checkpoints beyond `keep`."""
    target = root / name_of(step)
    if staging is not None:
        _seal(staging, step, facts)
        if target.exists():
            _discard(target)
        staging.rename(target)
        _flush(root)
    for pointer in pointers:
        point(root, pointer, target.name)
    # a damaged newer one stays until training reaches its step again; it must not push out good older ones
    older = [path for path in found(root) if path.name <= target.name]
    for old in [path for path in older if path.name not in protect][keep:]:
        _discard(old)
    return target


def pointed(root: Path, pointer: str) -> Path | None:
    """The folder that `latest` or `best` names, when it is there."""
    try:
        folder = root / (root / pointer).read_text(encoding="utf-8").strip()
    except OSError:
        return None
    return folder if folder.is_dir() and folder != root else None


def newest_good(root: Path, report: Report) -> Path | None:
    """The newest checkpoint whose every byte is as written, or None. Says loudly what it had to pass over."""
    for folder in found(root):
        reason = fault(folder)
        if reason is None:
            return folder
        report(f"WARNING: checkpoint {folder.name} is damaged ({reason}); falling back to the one before")
    return None


def found(root: Path) -> list[Path]:
    """The folders that look like checkpoints, newest step first, not verified."""
    return sorted((path for path in root.glob("step-*") if path.is_dir()), key=lambda path: path.name, reverse=True)


def fault(folder: Path, only: str = "") -> str | None:
    """Why the checkpoint cannot be used, or None when every file has the size and sha256 of the manifest.

    only: the one file that is wanted; optimizer states are six times the model, and hashing them takes minutes.
    """
    try:
        files = manifest(folder)["files"]
        for name, entry in files.items():
            if only and name != only:
                continue
            path = folder / name
            if path.stat().st_size != entry["bytes"]:
                return f"{name} has {path.stat().st_size} bytes, not {entry['bytes']}"
            if _sha256(path) != entry["sha256"]:
                return f"{name} has another sha256"
    except OSError as error:
        return f"{Path(error.filename or MANIFEST).name}: {error.strerror}"
    except (ValueError, KeyError, TypeError, AttributeError):
        return f"{MANIFEST} cannot be read"
    return None


def manifest(folder: Path) -> dict[str, Any]:
    """The manifest: step, files with bytes and sha256, and the facts given to `save`."""
    content: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    return content


def name_of(step: int) -> str:
    """Folder name of a step; sorts as the steps do."""
    return f"step-{step:08d}"


def sweep(root: Path) -> None:
    """Removes what a killed process left half done. Only for the process that owns the run."""
    for path in root.glob(".*-step-*"):
        shutil.rmtree(path, ignore_errors=True)


def point(root: Path, pointer: str, name: str) -> None:
    """Makes `latest` or `best` name a checkpoint; whole or not at all."""
    draft = root / f".{pointer}"
    draft.write_text(name + "\n", encoding="utf-8")
    _flush(draft)
    draft.replace(root / pointer)
    _flush(root)


def _seal(staging: Path, step: int, facts: Mapping[str, Any]) -> None:
    """Writes the manifest over all files, those in folders included, and brings everything to the disk."""
    paths = sorted(path for path in staging.rglob("*") if path.is_file())
    files = {
        path.relative_to(staging).as_posix(): {"bytes": path.stat().st_size, "sha256": _sha256(path)} for path in paths
    }
    content = json.dumps({"step": step, "files": files, **facts}, indent=1, sort_keys=True)
    (staging / MANIFEST).write_text(content + "\n", encoding="utf-8")
    for path in [*paths, staging / MANIFEST, *(path for path in staging.rglob("*") if path.is_dir()), staging]:
        _flush(path)


def _discard(folder: Path) -> None:
    """Renamed first: a half deleted checkpoint must not look like a damaged one."""
    grave = folder.with_name(f".discarded-{folder.name}")
    shutil.rmtree(grave, ignore_errors=True)
    folder.rename(grave)
    shutil.rmtree(grave, ignore_errors=True)


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
