"""One checkpoint to the store: data first, a look at what arrived, the manifest alone, and a look again.

At every moment the store shows this checkpoint whole or not at all: what has no manifest does not count
(remote.Remote), and the manifest is there only while all files of it are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from trainer.checkpoint import manifest, verify
from trainer.stores.store import Item, Moved, Store, StoreError
from trainer.sync import remote, runfiles
from trainer.sync.claims import Claims
from trainer.sync.remote import Remote
from trainer.sync.runfiles import RunFile

Say = Callable[[str], None]


class Unfit(Exception):
    """The local checkpoint cannot be sent: it is damaged, or retention took it while it was on its way."""


class Sending:
    """What one pass sends with. moved: the store's, called with 0 while hashing; expect: told how many bytes are about
    to be sent."""

    def __init__(
        self, store: Store, claims: Claims, moved: Moved, say: Say, expect: Callable[[int], None] = lambda _: None
    ) -> None:
        self.store, self.claims, self.moved, self.say, self.expect = store, claims, moved, say, expect

    def checkpoint(self, folder: Path, files: Sequence[RunFile] = ()) -> None:
        """Makes the store's checkpoint of that name the one in this folder, run files along with it.

        Raises Unfit, when nothing of it is left at the store, and StoreError, when the next call goes on.
        """
        try:
            data, content = self._read(folder)
        except Unfit:
            there = remote.one(self.store, folder.name)
            if there.sizes and not there.complete:
                self.withdraw(there)
            raise
        try:
            self._send(folder, data, content, files)
        except (OSError, Unfit, StoreError) as error:
            reason = _changed(folder, data)
            if reason is None and isinstance(error, Unfit):
                reason = str(error)
            if reason is not None:
                self.withdraw(remote.one(self.store, folder.name))
                raise Unfit(reason) from None
            if isinstance(error, OSError):
                raise StoreError(f"cannot read {folder.name}: {error.strerror}", "see the disk") from None
            raise

    def withdraw(self, found: Remote) -> None:
        """Removes a checkpoint from the store, its manifest before all else. Raises StoreError when it stays."""
        if manifest.MANIFEST in found.sizes:
            self.store.delete([found.prefix + manifest.MANIFEST])
            if manifest.MANIFEST in remote.one(self.store, found.name).sizes:
                raise StoreError(f"{self.store.url} keeps the {manifest.MANIFEST} of {found.name} that was deleted")
        rest = [found.prefix + name for name in found.sizes if name != manifest.MANIFEST]
        self.moved(0)
        if rest:
            self.store.delete(rest)
            if remote.one(self.store, found.name).sizes:
                raise StoreError(f"{self.store.url} keeps files of {found.name} that were deleted")
        self.claims.forget(found.name)

    def run_files(self, files: Sequence[RunFile]) -> None:
        """Sends those that are not there as they are now. Raises StoreError."""
        if files:
            self._put([], files)

    def _read(self, folder: Path) -> tuple[bytes, dict[str, Any]]:
        """Its manifest, after a look at every byte: a damaged checkpoint must not push out a good one."""
        try:
            data = (folder / manifest.MANIFEST).read_bytes()
            content = manifest.parse(data)
        except OSError as error:
            raise Unfit(f"{manifest.MANIFEST}: {error.strerror}") from None
        except manifest.Damaged as damage:
            raise Unfit(str(damage)) from None
        reason = verify.fault(folder, moved=lambda _: self.moved(0))
        if reason is not None:
            raise Unfit(reason)
        return data, content

    def _send(self, folder: Path, data: bytes, content: dict[str, Any], files: Sequence[RunFile]) -> None:
        there = remote.one(self.store, folder.name)
        seal = content[manifest.OWN]
        if there.sizes and (manifest.MANIFEST in there.sizes or not self.claims.claimed(folder.name, seal)):
            self.withdraw(there)
            there = remote.one(self.store, folder.name)
        self.claims.claim(folder.name, seal)
        missing = remote.mismatched(content, there.sizes)
        entries = content["files"]
        items = [
            Item(there.prefix + name, folder / name, entries[name]["bytes"], entries[name]["sha256"])
            for name in missing
        ]
        if len(missing) < len(entries):
            self.say(f"{folder.name}: {len(entries) - len(missing)} of {len(entries)} files are there already")
        self._put(items, files)
        wrong = remote.mismatched(content, remote.one(self.store, folder.name).sizes)
        if wrong:
            raise StoreError(f"{self.store.url} took {wrong[0]} of {folder.name} and does not have it whole")
        reason = _changed(folder, data)
        if reason is not None:
            raise Unfit(reason)
        self._publish(folder.name, data)

    def _publish(self, name: str, data: bytes) -> None:
        sha256 = hashlib.sha256(data).hexdigest()
        self.store.put([Item(remote.prefix_of(name) + manifest.MANIFEST, data, len(data), sha256)], self.moved)
        there = remote.one(self.store, name)
        if there.data != data or not there.complete:
            raise StoreError(f"{self.store.url} took the {manifest.MANIFEST} of {name} and does not show it whole")
        self.claims.forget(name)

    def _put(self, items: list[Item], files: Sequence[RunFile]) -> None:
        """One call for all: at the Hub that is one commit."""
        if not items and not files:
            return
        self.expect(sum(item.size for item in items) + sum(len(file.data) for file in files))
        self.claims.sending([file.name for file in files])
        self.store.put([*items, *(file.item for file in files)], self.moved)
        if files:
            sizes = self.store.list(runfiles.PREFIX)
            arrived = {file.name: file.sha256 for file in files if sizes.get(file.item.name) == len(file.data)}
            self.claims.arrived(arrived)


def _changed(folder: Path, data: bytes) -> str | None:
    """Why the folder is no longer what it was when its sending began, or None."""
    try:
        if (folder / manifest.MANIFEST).read_bytes() != data:
            return "another one took its place"
    except OSError:
        return "it was removed while it was on its way"
    return verify.fault(folder, hashes=False)
