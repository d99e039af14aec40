"""A download on its way: RUN/checkpoints/.incoming-step-XXXXXXXX/, which a later pull goes on with; renamed when every
file of it has the hash of the manifest."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

from trainer.checkpoint import folder, manifest, space, thin
from trainer.errors import OUTSIDE_FAILED, TrainerError
from trainer.sync.fetch import Line, Wanted, fetch

MARGIN = 16 << 20  # bytes left over on the disk: the file system's own, and a log line or two
SEAL = ".seal"  # in the folder: which manifest these files are of


class Incoming:
    """One checkpoint of a store (its files' names begin with `prefix` there) on its way to `root`.

    model: weights alone, for use without training; the folder then has a manifest of its own that says so.
    """

    def __init__(self, root: Path, prefix: str, content: Mapping[str, Any], model: bool) -> None:
        self.root, self.prefix = root, prefix
        self.name = folder.name_of(content["step"])
        self.content = thin.content(content) if model else dict(content)
        self.data = manifest.sealed(self.content)
        self.folder = root / f".incoming-{self.name}"

    @property
    def bytes(self) -> int:
        """Of all its files."""
        return sum(entry["bytes"] for entry in self.content["files"].values())

    def fetch(self, line: Line, threads: int) -> None:
        """Brings every file here. Raises fetch's errors, and TrainerError when the disk is too small."""
        self._prepare()
        self._check_space()
        files = [
            Wanted(self.prefix + name, self.folder / name, entry["bytes"], entry["sha256"])
            for name, entry in self.content["files"].items()
        ]
        with ThreadPoolExecutor(threads, thread_name_prefix="pull") as pool:
            futures = [pool.submit(fetch, line, wanted) for wanted in files]
            try:
                failed = [done for done in wait(futures, return_when=FIRST_EXCEPTION).done if done.exception()]
            finally:  # the others end with their next piece; also when the user interrupts
                if not all(future.done() for future in futures):
                    line.stop.set()
                    pool.shutdown(cancel_futures=True)
        if failed:
            failed[0].result()

    def _prepare(self) -> None:
        """Keeps what an earlier pull of the same checkpoint left."""
        seal = str(self.content.get("whole", self.content[manifest.OWN]))
        if not (self.folder / SEAL).is_file() or (self.folder / SEAL).read_text(encoding="utf-8") != seal:
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir(parents=True)
            folder.replace(self.folder / SEAL, seal.encode())

    def _check_space(self) -> None:
        here = sum((self.folder / name).stat().st_size for name in self._names() if (self.folder / name).is_file())
        left, needed = space.free(self.root), self.bytes - here + MARGIN
        if needed > left:
            what = (
                f"{self.name} needs {space.size(self.bytes)}, {space.size(here)} of it are here, and {self.root} has"
                f" {space.size(left)} free: {space.size(needed - left)} too little"
            )
            raise TrainerError(what, "make room, give another --run, or --only model", OUTSIDE_FAILED)

    def _names(self) -> list[str]:
        return list(self.content["files"])

    def publish(self) -> Path:
        """Gives it its name; a folder that had it goes. The manifest is written last, as in a save."""
        (self.folder / SEAL).unlink()
        wanted = {self.folder / name for name in self._names()}
        for path in [path for path in self.folder.rglob("*") if path.is_file() and path not in wanted]:
            path.unlink()
        for path in [path for path in self.folder.rglob("*") if path.is_dir()]:
            folder.flush(path)
        folder.replace(self.folder / manifest.MANIFEST, self.data)
        target = self.root / self.name
        if target.exists():
            folder.discard(target)
        self.folder.rename(target)
        folder.flush(self.root)
        return target

    def drop(self) -> None:
        """Removes what came."""
        shutil.rmtree(self.folder, ignore_errors=True)
