"""Deletes files from the Hub so that their space comes back.

A commit that deletes an LFS file frees nothing: its object stays as long as the history names it. Two calls free it.
`super_squash_history` makes one commit of a whole branch; its effect shows within 36 hours, and it takes the user's
history with ours. `permanently_delete_lfs_files` deletes objects by sha256 at once; rewrite_history=True, its default,
rewrites every commit that names them, kept ones too; with False no commit changes, and only a checkout of an old
commit misses the deleted files (hub-docs, storage-limits.md). We take the last: the commit that holds the kept
checkpoints stays the very same. Objects that any branch, tag or pull request still names are left alone.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from trainer.stores.hub_client import Connection
from trainer.stores.hub_errors import absent
from trainer.stores.hub_upload import COMMIT_FILES

# An object nobody names may have been sent a moment ago for a commit that is still to come.
SETTLED = 3600.0  # seconds


def delete(connection: Connection, names: Sequence[str], settled: float = SETTLED) -> None:
    """Deletes names (absent ones are no error), in order and in one commit up to 100, and frees their objects.

    Also frees what a call that was cut off has left: objects nobody names any more, of these names, or older than
    `settled` seconds and below the same first folder. Raises the client's errors.
    """
    address = connection.address
    try:
        head = connection.api.repo_info(**connection.place, revision=address.revision).sha
    except Exception as error:
        if absent(error):
            return
        raise
    listed = _files(connection, head)
    paths = [address.path(name) for name in names]
    there = [path for path in dict.fromkeys(paths) if path in listed]
    for at in range(0, len(there), COMMIT_FILES):
        chosen = there[at : at + COMMIT_FILES]
        head = connection.api.create_commit(
            **connection.place,
            operations=[connection.hub.CommitOperationDelete(path_in_repo=path, is_folder=False) for path in chosen],
            commit_message=f"Delete {address.name(chosen[0])} and {len(chosen) - 1} more",
            revision=address.revision,
            parent_commit=head,  # what is deleted is what was listed: somebody else's commit in between is a 412
        ).oid
    dead = {listed[path].lfs.sha256 for path in there if listed[path].lfs is not None}
    _free(connection, set(paths), dead, settled)


def _files(connection: Connection, revision: str) -> dict[str, Any]:
    """Every file of a commit, by path."""
    entries = connection.api.list_repo_tree(**connection.place, recursive=True, revision=revision)
    return {entry.path: entry for entry in entries if hasattr(entry, "blob_id")}


def _free(connection: Connection, paths: set[str], dead: set[str], settled: float) -> None:
    held = list(connection.api.list_lfs_files(**connection.place))
    before = time.time() - settled
    tops = {_top(connection, path) for path in paths}
    chosen = [
        entry
        for entry in held
        if entry.file_oid in dead
        or entry.filename in paths
        or (_top(connection, entry.filename) in tops and entry.pushed_at.timestamp() < before)
    ]
    if not chosen:
        return
    named = _named(connection)
    chosen = [entry for entry in chosen if entry.file_oid not in named]
    if chosen:
        connection.api.permanently_delete_lfs_files(**connection.place, lfs_files=chosen, rewrite_history=False)


def _top(connection: Connection, path: str) -> str:
    """The store's first folder above a path; the path itself where there is none or it is not the store's."""
    folder = connection.address.folder
    if folder and not path.startswith(folder + "/"):
        return path
    first, slash, _ = connection.address.name(path).partition("/")
    return connection.address.path(first + slash)


def _named(connection: Connection) -> set[str]:
    """The sha256 of every object that the newest commit of any branch, tag, conversion or pull request names."""
    refs = connection.api.list_repo_refs(**connection.place, include_pull_requests=True)
    every = [*refs.branches, *refs.tags, *refs.converts, *(refs.pull_requests or [])]
    commits = {ref.target_commit for ref in every}
    return {
        entry.lfs.sha256
        for commit in sorted(commits)
        for entry in _files(connection, commit).values()
        if entry.lfs is not None
    }
