"""The last steps of a save, by rank 0: manifest, rename, pointers; then the read-back, and only then what may go."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trainer.checkpoint import folder, manifest, retention, verify

SYNC_FILE = "sync.json"  # beside checkpoints/: what the sync process says of the remote store


@dataclass(frozen=True)
class Rules:
    """What stays on the disk besides the newest `keep`: every multiple of keep_every, and, where a remote store is
    required (its URL; "": one that is not known), whatever has not reached it."""

    keep: int
    keep_every: int = 0
    required: str | None = None


@dataclass
class Published:
    """What became of one checkpoint. fault: why the read-back failed; dropped: steps that went."""

    folder: Path
    bytes: int
    sha256: str  # of the manifest's content: the checkpoint's name among all of them
    fault: str | None = None
    dropped: list[int] = field(default_factory=list)


def publish(
    staging: Path, step: int, written: Mapping[str, Any], facts: Mapping[str, Any], pointers: Sequence[str]
) -> Published:
    """Makes the staged files the checkpoint of `step` and moves the pointers to it.

    written: of part.gather. A folder of that name that is there already is damaged, and is replaced.
    """
    root, name = staging.parent, folder.name_of(step)
    content = {"format": manifest.FORMAT, "step": step, **facts, **written}
    data = manifest.sealed(content)
    folder.replace(staging / manifest.MANIFEST, data)
    target = root / name
    if target.exists():
        folder.discard(target)
    staging.rename(target)
    folder.flush(root)
    for pointer in pointers:
        folder.point(root, pointer, name)
    size = sum(entry["bytes"] for entry in written["files"].values())
    return Published(target, size, manifest.parse(data)[manifest.OWN])


def tidy(published: Published, rules: Rules) -> None:
    """Reads the new checkpoint back; when it is as written, drops the older ones that the rules let go.

    Nothing goes on the word of a write: a disk that loses what it was told would take the last good one with it.
    Raises OSError, once it is read back, when one cannot be dropped.
    """
    with suppress(OSError):  # the reading then says what is wrong
        _forget(published.folder)
    published.fault = verify.fault(published.folder)
    if published.fault is not None:
        return
    root = published.folder.parent
    newest = folder.step_of(published.folder.name) or 0
    # a newer folder is damaged and stays until training reaches its step again; it must not push out good ones, and
    # nor must one that holds weights only
    steps = [
        step for path in folder.found(root) if (step := folder.step_of(path.name) or 0) <= newest and _resumable(path)
    ]
    for step in retention.expendable(steps, rules.keep, rules.keep_every, protected(root, rules, {newest})):
        with suppress(FileNotFoundError):  # `checkpoints prune` was faster
            folder.discard(root / folder.name_of(step))
            published.dropped.append(step)


def protected(root: Path, rules: Rules, also: Collection[int] = ()) -> set[int]:
    """Steps that stay whatever their age: the best, and those that a required remote store does not have."""
    best = folder.pointed(root, folder.BEST)
    kept = {*also, *([folder.step_of(best.name) or 0] if best else [])}
    if rules.required is not None:
        there = at_remote(root.parent, rules.required)
        kept |= {folder.step_of(path.name) or 0 for path in folder.found(root) if path.name not in there}
    return kept


def at_remote(run: Path, url: str | None = None, skipped: bool = True) -> set[str]:
    """Names of the checkpoints that need not wait for the run's remote store, as its sync process last saw: they are
    whole there, or (skipped) a newer one is and they are not worth sending any more.

    By their seals: a run that went back, or a URL of another run, has another checkpoint under the same name. url: the
    store that is meant, since a `sync` by hand to another one writes the same file; None: whichever it tells of.
    """
    try:
        told = json.loads((run / SYNC_FILE).read_text(encoding="utf-8"))
        if url is not None and told["remote"] != url:
            return set()
        seals = {name: told["seals"][name] for name in told["seals"] if skipped or name in told["checkpoints"]}
    except (OSError, ValueError, KeyError, TypeError):
        return set()
    return {name for name, seal in seals.items() if _seal(run / "checkpoints" / name) == seal}


def _seal(target: Path) -> str | None:
    try:
        return manifest.seal(manifest.read(target))
    except manifest.Damaged:
        return None


def _resumable(target: Path) -> bool:
    """Whether it counts: a damaged one does, so that it goes in its turn."""
    try:
        return manifest.resumable(manifest.read(target))
    except manifest.Damaged:
        return True


def _forget(target: Path) -> None:
    """Lets the kernel drop what it still holds of the files, so that reading them back asks the disk."""
    for path in target.iterdir():
        handle = os.open(path, os.O_RDONLY)
        try:
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(handle)
