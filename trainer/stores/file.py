"""file://: a folder of this machine, mostly a mounted network volume. What is needed of it: rename is atomic."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import io
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from trainer.stores import partial
from trainer.stores.address import parse
from trainer.stores.content import PIECE, changed, checked, digest, opened, pieces
from trainer.stores.counted import THREADS, Counted, each
from trainer.stores.disk_errors import said
from trainer.stores.store import Item, Missing, Moved, StoreError


class Folder:
    """Files are copied to a partial beside their place, flushed, and renamed; a second put of the same content goes
    on at the partial's length, after its bytes were hashed."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.root = Path(parse(url).path)
        self._device: int | None = None
        there = next(path for path in (self.root, *self.root.parents) if path.exists())
        if not there.is_dir():
            what = f"{there} is a file, so {url} can be no folder"
            raise StoreError(what, "give a folder, or one that can be made", transient=False)

    def list(self, prefix: str = "") -> dict[str, int]:
        """See Store.list. Symbolic links are not followed."""
        with self._told("listing"):
            self._check_mount()
            top = self.root / prefix.rpartition("/")[0]
            found = {}
            for folder, _, bases in os.walk(top, onerror=_not_gone):
                for base in bases:
                    path = Path(folder, base)
                    name = path.relative_to(self.root).as_posix()
                    if name.startswith(prefix) and not partial.is_partial(base) and (size := _size(path)) is not None:
                        found[name] = size
            return found

    def read(self, name: str, begin: int = 0) -> Iterator[bytes]:
        """See Store.read. A file that is replaced meanwhile is read on as it was."""
        path = self.root / checked(name)
        with self._told(f"reading {name}"):
            self._check_mount()
            try:
                file = path.open("rb")
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
                raise Missing(f"there is no {name} in {self.url}") from None
        with file:
            while True:
                with self._told(f"reading {name}"):
                    file.seek(begin)
                    piece = file.read(PIECE)
                if not piece:
                    return
                begin += len(piece)
                yield piece

    def put(self, items: Sequence[Item], moved: Moved) -> None:
        """See Store.put."""
        counted = Counted(moved)
        each(items, lambda item: self._put(item, counted), counted, THREADS)

    def delete(self, names: Sequence[str]) -> None:
        """See Store.delete. Half-sent versions go too, and folders in which nothing whole is left."""
        for name in names:
            path = self.root / checked(name)
            with self._told(f"deleting {name}"):
                self._check_mount()
                if not path.parent.is_dir():
                    continue
                path.unlink(missing_ok=True)
                _remove_partials(path.parent, path.name)
                self._remove_empty(path.parent)
                flush_folder(path.parent)

    def close(self) -> None:
        """Nothing is kept open."""

    def _put(self, item: Item, counted: Counted) -> None:
        path = self.root / checked(item.name)
        with opened(item) as source, self._told(f"writing {item.name}", counted):
            self._check_mount()
            self._make(path.parent)
            self._check_mount()
            sha256 = digest(item, counted)
            beside = self.root / partial.partial_of(item.name, sha256)
            for last_try in (False, True):
                if _fill(beside, source, item, sha256, counted, resume=not last_try):
                    break
            beside.replace(path)
            _remove_partials(path.parent, path.name)
            flush_folder(path.parent)
            if _size(path) != item.size:
                raise StoreError(f"{item.name} has another size in {self.url} than was written")

    def _make(self, folder: Path) -> None:
        """mkdir -p, each new folder flushed into the one above."""
        if not folder.is_dir():
            self._make(folder.parent)
            folder.mkdir(exist_ok=True)
            flush_folder(folder.parent)

    def _remove_empty(self, folder: Path) -> None:
        while folder != self.root and self.root in folder.parents and folder.is_dir():
            inside = list(folder.iterdir())
            if not all(path.is_file() and partial.is_partial(path.name) for path in inside):
                return
            for path in inside:
                path.unlink(missing_ok=True)
            folder.rmdir()
            folder = folder.parent

    def _check_mount(self) -> None:
        """A mount that vanished leaves an empty folder of the disk below it, which must not be filled instead."""
        there = self.root
        while not there.exists():
            there = there.parent
        if self._device is None and there == self.root:
            self._device = there.stat().st_dev
        if self._device is not None and there.stat().st_dev != self._device:
            raise StoreError(f"the volume of {self.url} is no longer mounted", "mount it again")

    @contextmanager
    def _told(self, doing: str, counted: Counted | None = None) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if counted is not None and counted.raised is error:
                raise  # the caller's own, from `moved`
            raise said(f"{doing} in {self.url}", error) from None


def flush_folder(folder: Path) -> None:
    """fsync of a folder: a rename is durable only after it. Some network file systems do not know it."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return  # removed with its last file
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):
            raise
    finally:
        os.close(descriptor)


def _fill(beside: Path, source: BinaryIO, item: Item, sha256: str, counted: Counted, resume: bool) -> bool:
    """Brings the partial to the whole content, on disk. False: what it held before was wrong, and it is removed."""
    with os.fdopen(os.open(beside, os.O_RDWR | os.O_CREAT, 0o666), "r+b") as file:
        _lock(file, item)
        kept = file.seek(0, io.SEEK_END)
        if not resume or kept > item.size:
            file.truncate(kept := 0)
        hashed = hashlib.sha256()
        for piece in pieces(file, item, 0, kept):
            counted(0)
            hashed.update(piece)
        file.seek(kept)
        for piece in pieces(source, item, kept, item.size):
            file.write(piece)
            hashed.update(piece)
            counted(len(piece))
        file.flush()
        os.fsync(file.fileno())
    if hashed.hexdigest() == sha256:
        return True
    beside.unlink()
    if not kept:
        raise changed(item)
    return False


def _lock(file: BinaryIO, item: Item) -> None:
    """Two processes that send the same content would write over each other."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise StoreError(f"{item.name} is being sent by another process", "let one process send a run") from None
    except OSError:
        pass  # a network volume without locks


def _remove_partials(folder: Path, base: str) -> None:
    for path in folder.iterdir():
        if partial.belongs(path.name, base):
            path.unlink(missing_ok=True)


def _size(path: Path) -> int | None:
    """Bytes of a regular file; None for anything else, also for what was removed meanwhile."""
    try:
        return path.stat().st_size if path.is_file() and not path.is_symlink() else None
    except FileNotFoundError:
        return None


def _not_gone(error: OSError) -> None:
    if not isinstance(error, (FileNotFoundError, NotADirectoryError)):
        raise error
