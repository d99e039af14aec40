"""A file of lines that is only ever appended to, by a process that may be killed and on a disk that may be full."""

from __future__ import annotations

import errno
import mmap
import os
import threading
from collections.abc import Callable
from pathlib import Path


class Appender:
    """Appends whole lines, each with one write(2) on an O_APPEND descriptor: a kill leaves one torn line at most.

    A torn tail is cut whenever the file is opened. No call raises on a disk that is full, read-only or gone: lines that
    could not be written are counted in `lost`, said once through `say` when it begins and once when it is over.
    """

    def __init__(self, path: Path, say: Callable[[str], None] | None = None) -> None:
        self.path = Path(path)
        self.lost = 0  # lines, since this object was made
        self.cut = 0  # bytes of torn tail
        self._say = say or (lambda _: None)
        self._pending = 0  # lost lines of the outage that lasts
        self._broken = False  # the file ends in a torn line that could not be cut
        self._handle = -1
        self._closed = False
        self._lock = threading.RLock()  # re-entrant: a signal handler may write while the loop writes
        try:
            self._open()
        except OSError as error:
            self._fail(error, lines=0)

    @property
    def failing(self) -> int:
        """Lines lost in the outage that lasts; 0 when all is well."""
        return self._pending

    def write(self, line: bytes, gap: Callable[[int], bytes] | None = None) -> bool:
        """Appends one line, newline included; False when it is lost. gap: makes the line that tells of lost ones."""
        with self._lock:
            if self._closed:
                return False
            try:
                if self._handle < 0:
                    self._open()
                told = gap(self._pending) if gap and self._pending else b""
                content = (b"\n" if self._broken else b"") + told + line
                written = os.write(self._handle, content)
                if written < len(content):  # the disk filled up in the middle of the line; opening again cuts it
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            except OSError as error:
                self._fail(error, lines=1)
                return False
            self._broken = False
            self._recover()
            return True

    def sync(self) -> None:
        """Waits until what is written is on the disk, as far as the file system can say."""
        with self._lock:
            try:
                if self._handle >= 0:
                    os.fsync(self._handle)
            except OSError:
                pass

    def close(self) -> None:
        """Flushes to disk and closes; later writes are dropped in silence. Twice is fine."""
        with self._lock:
            self.sync()
            self._release()
            if not self._closed and self._pending:
                self._say(f"{self.path.name}: {self._pending} lines were lost and never made up for")
            self._closed = True

    def _open(self) -> None:
        handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        try:
            size = os.fstat(handle).st_size
            whole = whole_bytes(handle, size)
        except OSError:
            os.close(handle)
            raise
        if whole < size:
            try:
                os.ftruncate(handle, whole)
                self.cut += size - whole
            except OSError:  # object-store mounts that cannot shorten a file: a newline ends the torn line instead
                self._broken = True
        self._handle = handle

    def _release(self) -> None:
        if self._handle >= 0:
            try:
                os.close(self._handle)
            except OSError:
                pass
        self._handle = -1

    def _fail(self, error: OSError, lines: int) -> None:
        first = self._pending == 0
        self._release()  # opening again cures a stale network handle and cuts what was half written
        self.lost += lines
        self._pending += lines
        if first and lines:
            self._say(f"{self.path.name}: {error.strerror or error}; its lines are lost for now, training goes on")

    def _recover(self) -> None:
        if self._pending:
            self._say(f"{self.path.name}: writable again; {self._pending} lines were lost")
            self._pending = 0


def whole_bytes(handle: int, size: int) -> int:
    """Bytes of the file up to the end of its last whole line: one that ends in a newline and holds no NUL.

    A kill tears a line; a crash of the machine can also leave pages of zeros where data had not reached the disk.
    """
    if size == 0:
        return 0
    content: mmap.mmap | bytes
    try:
        content = mmap.mmap(handle, size, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ)
    except (OSError, ValueError):
        content = os.pread(handle, size, 0)
    end = content.rfind(b"\n") + 1
    while end:
        start = content.rfind(b"\n", 0, end - 1) + 1
        if content.find(b"\0", start, end) < 0:
            break
        end = start
    if isinstance(content, mmap.mmap):
        content.close()
    return end
