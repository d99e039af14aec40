"""Reads files from the Hub by ranges of plain HTTP, which works for LFS and Xet files alike."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from trainer.stores.hub_client import Connection

PIECE = 1 << 20


def pieces(connection: Connection, name: str, begin: int) -> Iterator[bytes]:
    """The file from byte `begin` on. Raises the client's errors."""
    ranged = {"Range": f"bytes={begin}-"} if begin else {}
    with _get(connection, connection.file_url(name), ranged) as response:
        if response.status_code == 416 and _total(response) == begin:
            return
        connection.hub.utils.hf_raise_for_status(response)
        skip = begin if response.status_code == 200 else 0  # a server between us may ignore the range
        for piece in response.iter_bytes():
            kept = piece[skip:]
            skip -= len(piece) - len(kept)
            for at in range(0, len(kept), PIECE):
                yield kept[at : at + PIECE]


def last_byte(connection: Connection, name: str, size: int, revision: str) -> str | None:
    """None when the storage gives the last byte of a file of `size` bytes, otherwise what it does instead.

    The tree of a commit shows what was promised; only the storage shows what is there.
    """
    with _get(connection, connection.file_url(name, revision), {"Range": f"bytes={size - 1}-"}) as response:
        if response.status_code == 206:
            held = _total(response)
            return None if held == size else f"its storage holds {held} bytes of {size}"
        if response.status_code in (404, 416):
            return f"its storage does not have it whole (it answers {response.status_code})"
        connection.hub.utils.hf_raise_for_status(response)
    return None


def _get(connection: Connection, url: str, headers: dict[str, str]) -> Any:
    return connection.session().stream("GET", url, headers={**connection.headers(), **headers})


def _total(response: Any) -> int | None:
    """The whole file's size in `Content-Range: bytes 5-9/10` or `bytes */10` (RFC 9110, 14.4)."""
    total = str(response.headers.get("Content-Range", "")).rpartition("/")[2]
    return int(total) if total.isdigit() else None
