"""ssh://: a folder of another host with a POSIX sh, dd, find and one of sha256sum, shasum, openssl. No agent there."""

from __future__ import annotations

import os
import re
import selectors
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import BinaryIO

from trainer.stores import ssh_scripts as scripts
from trainer.stores.address import parse
from trainer.stores.content import changed, checked, digest, opened, pieces
from trainer.stores.counted import THREADS, Counted, each
from trainer.stores.partial import is_partial, partial_of
from trainer.stores.ssh_line import MARK, Line, end, unreached
from trainer.stores.ssh_words import MISSING, WRONG, refusal
from trainer.stores.store import Item, Missing, Moved, StoreError

SMALL = 1 << 20  # bytes; up to here a file goes in one command, and from its start
SLOWEST = 10 << 20  # bytes/s that a far end's disk must hash at, before it counts as hanging
PATIENCE = 120.0  # seconds without a byte; a dead line is noticed earlier, by ssh itself


class Ssh:
    """Files are written to a partial beside their place, hashed there, and moved.

    They are written at their offset, not appended: what a cut connection still delivers late are the same bytes at
    the same place, because a partial is named after its content.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        address = parse(url)
        self._root = "./" + address.path[2:] if address.path.startswith("~/") else address.path
        self._line = Line(address)
        self._host = address.host

    def list(self, prefix: str = "") -> dict[str, int]:
        """See Store.list."""
        folder = prefix.rpartition("/")[0]
        out = self._ask(scripts.listing(self._root, folder), f"listing {self.url}")
        found = {}
        for line in out.splitlines():
            if match := re.fullmatch(rb"\s*(\d+) \./(.*)", line):
                name = f"{folder}/{os.fsdecode(match[2])}" if folder else os.fsdecode(match[2])
                if name.startswith(prefix) and not is_partial(name.rpartition("/")[2]):
                    found[name] = int(match[1])
        return found

    def read(self, name: str, begin: int = 0) -> Iterator[bytes]:
        """See Store.read. A file that is replaced meanwhile is read on as it was."""
        process = self._line.start(scripts.reading(self._root, checked(name), begin))
        said = _Said(process)
        try:
            yield from _after_mark(process, self._host)
            code = process.wait()
            if code == MISSING:
                raise Missing(f"there is no {name} in {self.url}")
            if code:
                raise refusal(code, said.text(), f"reading {name} from {self.url}")
        finally:
            end(process)

    def put(self, items: Sequence[Item], moved: Moved) -> None:
        """See Store.put."""
        counted = Counted(moved)
        each(items, lambda item: self._put(item, counted), counted, THREADS)

    def delete(self, names: Sequence[str]) -> None:
        """See Store.delete. Half-sent versions go too, and folders in which nothing whole is left."""
        for group in scripts.groups([checked(name) for name in names]):
            self._ask(scripts.deleting(self._root, group), f"deleting in {self.url}")

    def close(self) -> None:
        """See Store.close."""
        self._line.close()

    def _put(self, item: Item, counted: Counted) -> None:
        doing = f"writing {checked(item.name)} to {self.url}"
        with opened(item) as source:
            sha256 = digest(item, counted)
            beside = partial_of(item.name, sha256)
            prepare = scripts.preparing(self._root, item.name)
            write, finish = (
                scripts.writing(self._root, beside),
                scripts.finishing(self._root, item.name, beside, sha256),
            )
            if item.size <= SMALL:
                whole = f"{prepare}{write}{finish}"
                if any(self._run(whole, doing, counted, item, source) for _ in range(2)):  # again without the partial
                    return
            else:
                kept = self._kept(f"{prepare}{scripts.begun(self._root, beside)}", doing, counted)
                blocks = kept // scripts.BLOCK if kept <= item.size else 0
                for begin in (blocks, 0) if kept else (0,):
                    self._run(write, doing, counted, item, source, begin)
                    if self._run(finish, doing, counted, item):
                        return
            if digest(replace(item, sha256=None), counted) != sha256:
                raise changed(item)
            raise StoreError(f"{doing}: what arrived is not what was sent", "")

    def _kept(self, script: str, doing: str, counted: Counted) -> int:
        """Bytes of the partial that are there."""
        said = re.fullmatch(rb"\s*(\d+)\s*", self._ask(script, doing, counted))
        if said is None:
            raise StoreError(f"{doing}: the far end did not tell the size of what it has", "")
        return int(said[1])

    def _run(
        self, script: str, doing: str, counted: Counted, item: Item, source: BinaryIO | None = None, blocks: int = 0
    ) -> bool:
        """Runs a script, with the item from block `blocks` on as its input; False when it found wrong bytes."""
        feed = subprocess.DEVNULL if source is None else subprocess.PIPE
        process = self._line.start(f"at={blocks}; {script}exit 0", feed)
        said = _Said(process)
        try:
            if source is not None:
                self._feed(process, pieces(source, item, blocks * scripts.BLOCK, item.size), counted)
            if not _wait(process, PATIENCE + item.size / SLOWEST, counted):
                raise unreached(self._host)
        except BaseException:
            process.terminate()
            raise
        finally:
            end(process)
        if process.returncode not in (0, WRONG):
            raise refusal(process.returncode, said.text(), doing)
        return process.returncode == 0

    def _feed(self, process: subprocess.Popen[bytes], content: Iterator[bytes], counted: Counted) -> None:
        assert process.stdin is not None
        try:
            for piece in content:
                _write(process, piece, self._host)
                counted(len(piece))
            process.stdin.close()
        except BrokenPipeError:
            pass  # the exit code says why

    def _ask(self, script: str, doing: str, counted: Counted | None = None) -> bytes:
        process = self._line.start(script)
        said = _Said(process)
        try:
            out = b"".join(_after_mark(process, self._host))
            code = process.wait()
        finally:
            end(process)
        if counted is not None:
            counted(0)
        if code:
            raise refusal(code, said.text(), doing)
        return out


class _Said:
    """Standard error, read beside: a full pipe would stop the command."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._text = b""
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        assert self._process.stderr is not None
        with self._process.stderr as stream:
            while piece := os.read(stream.fileno(), 4096):
                self._text = (self._text + piece)[-65536:]

    def text(self) -> bytes:
        self._thread.join(5)
        return self._text


def _after_mark(process: subprocess.Popen[bytes], host: str) -> Iterator[bytes]:
    """Standard output after MARK."""
    assert process.stdout is not None
    with process.stdout as stream, selectors.DefaultSelector() as ready:
        ready.register(stream, selectors.EVENT_READ)
        head, begun = b"", False
        while True:
            if not ready.select(PATIENCE):
                raise unreached(host)
            if not (piece := os.read(stream.fileno(), 1 << 20)):
                return
            if not begun:
                head = head[-len(MARK) :] + piece
                _, begins, piece = head.partition(MARK)
                begun = bool(begins)
            if begun and piece:
                yield piece


def _write(process: subprocess.Popen[bytes], piece: bytes, host: str) -> None:
    """All of it, unless the far end takes nothing for too long."""
    assert process.stdin is not None
    descriptor, rest = process.stdin.fileno(), memoryview(piece)
    os.set_blocking(descriptor, False)
    with selectors.DefaultSelector() as ready:
        ready.register(descriptor, selectors.EVENT_WRITE)
        while rest:
            if not ready.select(PATIENCE):
                raise unreached(host)
            rest = rest[os.write(descriptor, rest) :]


def _wait(process: subprocess.Popen[bytes], seconds: float, counted: Counted) -> bool:
    """Waits for the end of the process and tells `moved` that we are alive; False when it took too long."""
    limit = time.monotonic() + seconds
    while process.poll() is None:
        if time.monotonic() > limit:
            return False
        if counted.failure is None:
            counted(0)
        try:
            process.wait(0.5)
        except subprocess.TimeoutExpired:
            continue
    return True
