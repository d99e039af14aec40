"""Sends files to the Hub: large ones into its storage first, then one commit that names them all, then a look back."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

from trainer.stores.content import changed, opened
from trainer.stores.counted import Counted
from trainer.stores.hub_client import Connection
from trainer.stores.hub_meter import metered_addition
from trainer.stores.hub_read import last_byte
from trainer.stores.store import Item, StoreError

# "around 50-100 files per commit", and a commit has 60 s (hub-docs, storage-limits.md).
COMMIT_FILES = 100
# What is no LFS file travels base64 inside the commit's one request; huggingface_hub's own limit is 100 MB.
COMMIT_BYTES = 32 << 20
# One call of preupload_lfs_files: between two of them Xet, which cannot be watched, shows that it is alive.
GROUP_BYTES = 1 << 30
THREADS = 4


def send(connection: Connection, items: Sequence[Item], counted: Counted) -> None:
    """Sends items in as few commits as the Hub advises (one up to 100 files) and verifies them.

    What a call that was cut off has brought into the storage is not sent again: the Hub's LFS batch answer says that
    it has the sha256 (objects no commit names are collected after about 36 hours). Raises StoreError and the client's
    errors.
    """
    for batch in _batches(items):
        counted(0)
        _send_batch(connection, batch, counted)


def _batches(items: Sequence[Item]) -> Iterator[list[Item]]:
    """In the order given, at most COMMIT_FILES and COMMIT_BYTES of files small enough not to become LFS files."""
    batch: list[Item] = []
    small = 0
    for item in items:
        inline = item.size if item.size <= 10 << 20 else 0  # larger files are always LFS files
        if batch and (len(batch) == COMMIT_FILES or small + inline > COMMIT_BYTES):
            yield batch
            batch, small = [], 0
        batch.append(item)
        small += inline
    if batch:
        yield batch


def _send_batch(connection: Connection, batch: list[Item], counted: Counted) -> None:
    additions = [_addition(connection, item, counted) for item in batch]
    for group in _groups(additions):
        _upload(connection, group, counted)
    for item, addition in zip(batch, additions, strict=True):
        if item.sha256 is not None and addition.upload_info.sha256.hex() != item.sha256:
            raise changed(item)
    names = batch[0].name if len(batch) == 1 else f"{batch[0].name} and {len(batch) - 1} more"
    commit = connection.api.create_commit(
        **connection.place,
        operations=additions,
        commit_message=f"Add {names}",
        revision=connection.address.revision,
        num_threads=THREADS,
    )
    counted(sum(item.size for item, addition in zip(batch, additions, strict=True) if not addition._is_uploaded))
    _look_back(connection, batch, additions, commit.oid, counted)


def _addition(connection: Connection, item: Item, counted: Counted) -> Any:
    with opened(item):  # there, and of the size announced
        pass
    return metered_addition(connection.hub, connection.address.path(item.name), item.source, counted)


def _groups(additions: list[Any]) -> Iterator[list[Any]]:
    group: list[Any] = []
    held = 0
    for addition in additions:
        size = addition.upload_info.size
        if group and held + size > GROUP_BYTES:
            yield group
            group, held = [], 0
        group.append(addition)
        held += size
    if group:
        yield group


def _upload(connection: Connection, group: list[Any], counted: Counted) -> None:
    """Into the storage, what the Hub wants there; small files wait for the commit."""
    connection.api.preupload_lfs_files(
        **connection.place,
        additions=group,
        revision=connection.address.revision,
        num_threads=THREADS,
        free_memory=False,  # the commit compares sizes and hashes
    )
    ignored = [addition.path_in_repo for addition in group if addition._should_ignore]
    if ignored:
        raise StoreError(
            f"the repository's .gitignore keeps {ignored[0]} out", "take that rule out of its .gitignore", False
        )
    large = sum(addition.upload_info.size for addition in group if addition._is_uploaded)
    # Through Xet nothing was seen to move; how much of it was new there, nobody tells: at most all of it.
    counted(large if by_xet() else 0)


def by_xet() -> bool:
    """Whether huggingface_hub sends files through hf_xet: whenever it is installed and not switched off."""
    from huggingface_hub.utils._runtime import is_xet_available

    return bool(is_xet_available())


def _look_back(connection: Connection, batch: list[Item], additions: list[Any], commit: str, counted: Counted) -> None:
    """Raises StoreError unless the commit has every file with its size and hash, and the storage its last byte."""
    paths = [addition.path_in_repo for addition in additions]
    found = {
        entry.path: entry for entry in connection.api.get_paths_info(**connection.place, paths=paths, revision=commit)
    }
    for item, addition in zip(batch, additions, strict=True):
        counted(0)
        entry = found.get(addition.path_in_repo)
        fault = _fault(entry, item, addition)
        if fault is None and entry is not None and entry.lfs is not None and item.size:
            fault = last_byte(connection, item.name, item.size, commit)
        if fault is not None:
            raise StoreError(f"the Hub took {item.name}, but {fault}", "it is sent again")


def _fault(entry: Any, item: Item, addition: Any) -> str | None:
    """Why what the Hub lists is not what was sent; None when it is."""
    if entry is None or not hasattr(entry, "blob_id"):
        return "does not list it"
    if entry.size != item.size:
        return f"lists {entry.size} bytes of {item.size}"
    if entry.lfs is not None:
        return None if entry.lfs.sha256 == addition.upload_info.sha256.hex() else "lists another sha256"
    with addition.as_file() as file:
        data = file.read()
    # How git names a file's content: sha1 over "blob SIZE\0" and the content (git-scm.com, Git Internals - Objects).
    named = hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
    return None if entry.blob_id == named else "lists another content"
