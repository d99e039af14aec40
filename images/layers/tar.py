"""A deterministic tar writer: the same entries give the same bytes on every machine, in every Python.

Python's `tarfile` and GNU tar pad, sort and fall back differently by version; a layer's diff_id hangs on each such
byte. So: ustar, a PAX header only where a field cannot hold its value (long or non-ASCII names, 8 GiB and more),
entries sorted bytewise, owner 0:0 without names, one mtime, two zero blocks at the end
(POSIX.1-2017 pax, "ustar Interchange Format"; opencontainers/image-spec layer.md).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import IO, Literal

from images.layers import names
from images.plan import HOME
from profiles.errors import CheckFailed, WrongInput

BLOCK = 512
PIECE = 1 << 20  # bytes read from a file at a time
MTIME = 1  # jib's choice: not 0, which some tools take for "unset"; never the commit's, or layers would never repeat
FORMAT = "ustar-1"  # part of the build cache's key: change it with any change of the bytes written here
USTAR_SIZE = 8**11 - 1  # the largest size eleven octal digits hold
TYPES = {"file": b"0", "symlink": b"2", "dir": b"5"}


@dataclass(frozen=True, slots=True)
class Entry:
    """One file, folder or symbolic link of a layer.

    path: relative to the image's root; mode: only its executable bit is used, and only for files; size in bytes and
    sha256 (64 hex digits, empty: not known) are checked while the file is read; open: gives the content anew at each
    call; link: text of the symbolic link; source and fault (what is wrong, what to do): the error when it differs.
    """

    path: str
    kind: Literal["file", "dir", "symlink"]
    mode: int = 0o644
    size: int = 0
    open: Callable[[], IO[bytes]] | None = None
    link: str = ""
    sha256: str = ""
    source: str = ""
    fault: tuple[str, str] = ("changed while it was read", "run the same command again")


def arranged(entries: Iterable[Entry], prefix: str = HOME) -> list[Entry]:
    """The entries checked, sorted bytewise, with the parent folders at and beneath `prefix` added.

    Parents above the prefix are left out: a folder entry would replace the base folder's owner and mode.
    Raises WrongInput for a path that may not be in a layer, comes twice, or is a file and a folder at once.
    """
    found: dict[str, Entry] = {}
    for entry in entries:
        names.checked(entry.path)
        if entry.kind == "symlink":
            names.checked_link(entry.path, entry.link)
        if entry.path in found:
            raise WrongInput(f"two entries for {names.printable(entry.path)} in one layer", "leave one of them out")
        found[entry.path] = entry
    for path in list(found):
        for parent in parents(path):
            above = found.get(parent)
            if above is not None and above.kind != "dir":
                raise WrongInput(f"{names.printable(parent)} is a {above.kind} and a folder in one layer")
            if above is None and (parent + "/").startswith(prefix + "/"):
                found[parent] = Entry(parent, "dir", 0o755)
    return sorted(found.values(), key=lambda entry: entry.path.encode())


def parents(path: str) -> Iterator[str]:
    """'a', 'a/b' of 'a/b/c'."""
    at = path.find("/")
    while at > 0:
        yield path[:at]
        at = path.find("/", at + 1)


def stream(entries: Iterable[Entry]) -> Iterator[bytes]:
    """The archive of arranged entries, piece by piece. Raises CheckFailed when a file is not what its entry says."""
    for entry in entries:
        yield header(entry)
        if entry.kind == "file":
            yield from content(entry)
            if rest := entry.size % BLOCK:
                yield bytes(BLOCK - rest)
    yield bytes(2 * BLOCK)


def length(entries: Iterable[Entry]) -> int:
    """Bytes of the archive of arranged entries, without reading any file."""
    total = 2 * BLOCK
    for entry in entries:
        total += len(header(entry))
        if entry.kind == "file":
            total += -(-entry.size // BLOCK) * BLOCK
    return total


def content(entry: Entry) -> Iterator[bytes]:
    """The file's bytes, with its length and sha256 checked before the last piece is let go."""
    if entry.open is None:
        raise ValueError(f"{entry.path}: a file needs open()")
    state, left = hashlib.sha256(), entry.size
    with closing(entry.open()) as reader:
        while piece := reader.read(PIECE):
            left -= len(piece)
            if left < 0:
                break
            state.update(piece)
            yield piece
    if left or (entry.sha256 and state.hexdigest() != entry.sha256):
        what, next_step = entry.fault
        raise CheckFailed(f"{what}: {entry.source or entry.path}", next_step)


def header(entry: Entry) -> bytes:
    """The entry's header block, behind a PAX header where ustar cannot hold a value."""
    path = entry.path + "/" if entry.kind == "dir" else entry.path
    size = entry.size if entry.kind == "file" else 0
    records = b""
    split = split_name(path)
    if split is None:
        records += record("path", path)
        split = plain(path), b""
    if not fits(entry.link, 100):
        records += record("linkpath", entry.link)
    if size > USTAR_SIZE:
        records += record("size", str(size))
    main = block(split, mode_of(entry), min(size, USTAR_SIZE), TYPES[entry.kind], plain(entry.link))
    if not records:
        return main
    extended = block((b"././@PaxHeader", b""), 0o644, len(records), b"x", b"")
    return extended + records + bytes(-len(records) % BLOCK) + main


def mode_of(entry: Entry) -> int:
    """Permission bits as we write them, whatever umask the checkout was made with."""
    if entry.kind == "symlink":
        return 0o777  # what Linux gives every link, and GNU tar writes
    return 0o755 if entry.kind == "dir" or entry.mode & 0o100 else 0o644


def split_name(path: str) -> tuple[bytes, bytes] | None:
    """(name, prefix) as ustar's two fields hold the path, or None when only PAX can."""
    if fits(path, 100):
        return path.encode(), b""
    raw = path.encode()
    if not path.isascii() or len(raw) > 256:
        return None
    at = raw.find(b"/", max(0, len(raw) - 101))  # the leftmost cut that leaves at most 100 bytes of name
    if at <= 0 or at > 155 or at == len(raw) - 1:
        return None
    return raw[at + 1 :], raw[:at]


def fits(text: str, limit: int) -> bool:
    return text.isascii() and len(text) <= limit


def plain(text: str) -> bytes:
    """What a reader without PAX sees of a name: ASCII, cut to the field."""
    return text.encode("ascii", "replace")[:100]


def record(key: str, value: str) -> bytes:
    """One PAX record, `LENGTH KEY=VALUE newline`, whose length counts its own digits."""
    rest = f" {key}={value}\n".encode()
    size = len(rest)
    while size != len(rest) + len(str(size)):
        size = len(rest) + len(str(size))
    return str(size).encode() + rest


def block(name: tuple[bytes, bytes], mode: int, size: int, kind: bytes, link: bytes) -> bytes:
    """One ustar header block (POSIX.1-2017, pax, table "ustar Header Block")."""
    fields = [
        name[0].ljust(100, b"\0"),
        b"%07o\0" % mode,
        b"%07o\0" % 0,  # uid
        b"%07o\0" % 0,  # gid
        b"%011o\0" % size,
        b"%011o\0" % MTIME,
        b" " * 8,  # the checksum counts itself as spaces
        kind,
        link.ljust(100, b"\0"),
        b"ustar\x0000",
        bytes(64),  # uname, gname
        b"%07o\0" % 0,  # devmajor
        b"%07o\0" % 0,  # devminor
        name[1].ljust(155, b"\0"),
    ]
    raw = b"".join(fields).ljust(BLOCK, b"\0")
    return raw[:148] + b"%06o\0 " % sum(raw) + raw[156:]
