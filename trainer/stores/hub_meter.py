"""Counts what the Hub's client reads from a file while it sends it: the only place where an upload can be watched.

In plain HTTP mode huggingface_hub opens every file it uploads through CommitOperationAdd.as_file(with_tqdm=True)
(lfs.py, `_upload_single_part` and `_upload_parts_iteratively`) and reads pieces of 64 KiB as the socket takes them, so
a reader that counts sees the bytes go. With hf_xet the file's path is handed to Rust code, which reads by itself.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from trainer.stores.counted import Counted


class Metered(io.BufferedReader):
    """A reader that tells what was read from it."""

    def __init__(self, raw: Any, counted: Counted) -> None:
        super().__init__(raw)
        self._counted = counted

    def read(self, size: int | None = -1, /) -> bytes:
        piece = super().read(size)
        if piece:
            self._counted(len(piece))
        return piece


def metered_addition(hub: Any, path: str, source: Path | bytes, counted: Counted) -> Any:
    """A CommitOperationAdd that is counted while it is uploaded, and not while it is hashed or put into a commit."""

    class Addition(hub.CommitOperationAdd):  # type: ignore[misc]  # a class of a library imported when needed
        @contextmanager
        def as_file(self, with_tqdm: bool = False) -> Iterator[IO[bytes]]:
            if not with_tqdm:
                with super().as_file() as file:
                    yield file
                return
            raw = io.FileIO(str(source)) if isinstance(source, Path) else io.BytesIO(source)
            with Metered(raw, counted) as file:
                yield file

    return Addition(path_in_repo=path, path_or_fileobj=source)
