"""Whether a checkpoint's every byte is as it was written."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from trainer.checkpoint import manifest
from trainer.checkpoint.folder import found

Report = Callable[[str], None]
Moved = Callable[[int], None]
CHUNK = 1 << 18  # bytes; what is read stays in the cache of the core that hashes it
READERS = 8  # files hashed at once, at most: sha256 is slower than a good disk


def newest_good(root: Path, report: Report) -> Path | None:
    """The newest checkpoint that training can go on from, or None. Says loudly what it had to pass over."""
    for folder in found(root):
        reason = fault(folder)
        try:
            if reason is None and manifest.resumable(manifest.read(folder)):
                return folder
        except manifest.Damaged as damage:  # retention took it just now
            reason = str(damage)
        if reason is None:
            report(f"{folder.name} holds weights only and cannot be resumed from; looking at the one before")
        else:
            report(f"checkpoint {folder.name} is damaged ({reason}); falling back to the one before")
    return None


def fault(
    folder: Path,
    only: Callable[[str], bool] | None = None,
    moved: Moved | None = None,
    hashes: bool = True,
) -> str | None:
    """Why the checkpoint cannot be used, or None when every file has the size and sha256 of the manifest.

    only: chooses files by name; optimizer states are twice the weights, and hashing them takes minutes. moved: told
    of the bytes read, from several threads. hashes: False compares sizes alone.
    """
    try:
        files = manifest.read(folder)["files"]
        wanted = {name: entry for name, entry in files.items() if only is None or only(name)}
        for name, entry in wanted.items():
            size = (folder / name).stat().st_size
            if size != entry["bytes"]:
                return f"{name} has {size} bytes, not {entry['bytes']}"
        if not hashes:
            return None
        with ThreadPoolExecutor(min(READERS, os.cpu_count() or 1)) as pool:
            found_hashes = pool.map(lambda name: sha256(folder / name, moved), wanted)
            for name, digest in zip(wanted, found_hashes, strict=True):
                if digest != wanted[name]["sha256"]:
                    return f"{name} has another sha256"
    except manifest.Damaged as damage:
        return str(damage)
    except OSError as error:
        return f"{Path(error.filename or 'a file').name}: {error.strerror}"
    return None


def sha256(path: Path, moved: Moved | None = None) -> str:
    """Of a file, read once from begin to end."""
    digest = hashlib.sha256()
    buffer = memoryview(bytearray(CHUNK))
    with path.open("rb", buffering=0) as stream:
        # the kernel reads ahead while we hash (posix_fadvise(2))
        os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_SEQUENTIAL)
        while count := stream.readinto(buffer):
            digest.update(buffer[:count])
            if moved is not None:
                moved(count)
    return digest.hexdigest()
