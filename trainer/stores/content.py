"""The bytes of an item on its way: in pieces, by range, and its hashes; and which names a store takes."""

from __future__ import annotations

import base64
import hashlib
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from trainer.stores.counted import Counted
from trainer.stores.store import Item, StoreError

PIECE = 1 << 20  # bytes between two calls of `moved`


def checked(name: str) -> str:
    """The name, when it is relative, has no `.`, `..` or empty part, and no control characters."""
    parts = name.split("/")
    if not name or any(part in ("", ".", "..") for part in parts) or re.search(r"[\x00-\x1f\x7f]", name):
        raise StoreError(f"{name!r} cannot be a name in a store", "names are relative, with slashes", transient=False)
    return name


@contextmanager
def opened(item: Item) -> Iterator[BinaryIO]:
    """The item's bytes as a file. Raises StoreError (not transient) when it is not there or not of item.size bytes."""
    if isinstance(item.source, bytes):
        if len(item.source) != item.size:
            raise changed(item)
        yield io.BytesIO(item.source)
        return
    try:
        file = item.source.open("rb")
    except OSError as error:
        raise unreadable(item, error) from None
    with file:
        if file.seek(0, io.SEEK_END) != item.size:
            raise changed(item)
        file.seek(0)
        yield file


def digest(item: Item, counted: Counted) -> str:
    """SHA-256 of the whole content, in hex: as it was given, else computed."""
    if item.sha256:
        return item.sha256
    hashed = hashlib.sha256()
    with opened(item) as file:
        for piece in pieces(file, item, 0, item.size):
            counted(0)
            hashed.update(piece)
    return hashed.hexdigest()


def hashes(file: BinaryIO, item: Item, part: int, counted: Counted) -> tuple[str, list[str]]:
    """SHA-256 of the whole, and MD5 of every `part` bytes (at least one), in hex.

    Raises StoreError when the bytes are not those of item.sha256: what is damaged here must not be sent.
    """
    sha256, parts = hashlib.sha256(), []
    for begin in range(0, max(item.size, 1), part):
        # MD5 is the protocols' transfer checksum and guards nothing; FIPS builds of OpenSSL ask to be told so.
        md5 = hashlib.new("md5", usedforsecurity=False)
        for piece in pieces(file, item, begin, min(begin + part, item.size)):
            counted(0)
            sha256.update(piece)
            md5.update(piece)
        parts.append(md5.hexdigest())
    if item.sha256 not in (None, sha256.hexdigest()):
        raise changed(item)
    return sha256.hexdigest(), parts


def in_base64(hexadecimal: str) -> str:
    """As HTTP's Content-MD5 has it (RFC 1864)."""
    return base64.b64encode(bytes.fromhex(hexadecimal)).decode()


def pieces(file: BinaryIO, item: Item, begin: int, end: int) -> Iterator[bytes]:
    """Bytes [begin, end) in pieces. Raises StoreError when the file ends before."""
    while begin < end:
        try:
            file.seek(begin)
            piece = file.read(min(PIECE, end - begin))
        except OSError as error:
            raise unreadable(item, error) from None
        if not piece:
            raise changed(item)
        begin += len(piece)
        yield piece


def changed(item: Item) -> StoreError:
    """The local file is not what was announced: sending it again cannot help."""
    return StoreError(
        f"{item.name} changed while it was being sent, or is damaged", "verify the file here", transient=False
    )


def unreadable(item: Item, error: OSError) -> StoreError:
    """The local file cannot be read."""
    where = item.source if isinstance(item.source, Path) else item.name
    return StoreError(f"cannot read {where}: {error.strerror or error}", "verify the file here", transient=False)


class Slice:
    """A range of an item as the body of a request: read(), seek(), tell() and a length.

    Clients read a body to sign it before they read it to send it; bytes count as moved only after `sending` was
    set, which a client's hook does, and a seek ends that.
    """

    def __init__(self, file: BinaryIO, item: Item, begin: int, size: int, counted: Counted) -> None:
        self.file, self.item, self.begin, self.size, self.counted = file, item, begin, size, counted
        self.at = 0
        self.sending = False

    def __len__(self) -> int:
        return self.size

    def read(self, amount: int | None = -1) -> bytes:
        """At most PIECE bytes while sending, so that progress is told often."""
        left = self.size - self.at
        most = left if amount is None or amount < 0 else min(amount, left)
        if self.sending:
            most = min(most, PIECE)
        if most <= 0:
            return b""
        self.file.seek(self.begin + self.at)
        piece = self.file.read(most)
        if not piece:
            raise changed(self.item)
        self.at += len(piece)
        self.counted(len(piece) if self.sending else 0)
        return piece

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self.at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self.at, io.SEEK_END: self.size}[whence]
        self.sending = False
        return self.at

    def tell(self) -> int:
        return self.at
