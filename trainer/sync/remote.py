"""What lies at a remote store: `checkpoints/step-XXXXXXXX/`, each whole when its manifest parses and every file that
the manifest names is listed with its size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from trainer.checkpoint import folder, manifest
from trainer.stores.store import Missing, Store

PREFIX = "checkpoints/"
Data = bytes  # the name is that of a property below
MANIFEST_LIMIT = 1 << 26  # bytes; what is larger is no manifest


@dataclass(frozen=True)
class Remote:
    """One checkpoint folder at the store, as one listing saw it. sizes: bytes by file name within the folder.

    `manifest`, `complete` and `best` read its manifest when they are first asked for, and raise StoreError.
    """

    store: Store
    step: int
    name: str
    sizes: Mapping[str, int]

    @property
    def bytes(self) -> int:
        """All of it."""
        return sum(self.sizes.values())

    @property
    def prefix(self) -> str:
        """Of its files' names at the store."""
        return prefix_of(self.name)

    @cached_property
    def data(self) -> Data | None:
        """The manifest's bytes; None when there is none."""
        if manifest.MANIFEST not in self.sizes or self.sizes[manifest.MANIFEST] > MANIFEST_LIMIT:
            return None
        try:
            return b"".join(self.store.read(self.prefix + manifest.MANIFEST))
        except Missing:
            return None

    @cached_property
    def manifest(self) -> dict[str, Any] | None:
        """Its content; None when there is none or it is damaged, or tells of another step."""
        try:
            content: dict[str, Any] = manifest.parse(self.data) if self.data is not None else {}
        except manifest.Damaged:
            return None
        return content if content.get("step") == self.step else None

    @property
    def fault(self) -> str | None:
        """Why it does not count, or None."""
        if manifest.MANIFEST not in self.sizes:
            return f"it has no {manifest.MANIFEST}: it was never sent to its end"
        if self.manifest is None:
            return f"its {manifest.MANIFEST} is damaged"
        wrong = mismatched(self.manifest, self.sizes)
        return f"{wrong[0]} is missing or has another size" if wrong else None

    @property
    def complete(self) -> bool:
        """Whether a reader may take it."""
        return self.fault is None

    @property
    def best(self) -> bool:
        """Whether it was itself the best of its run when it was made."""
        return self.complete and best_step(self.manifest) == self.step


def checkpoints(store: Store) -> list[Remote]:
    """All of them, newest step first, the incomplete ones too; one listing. Raises StoreError."""
    by_name: dict[str, dict[str, int]] = {}
    for path, size in store.list(PREFIX).items():
        name, slash, file = path[len(PREFIX) :].partition("/")
        if slash and folder.step_of(name) is not None:
            by_name.setdefault(name, {})[file] = size
    there = [Remote(store, folder.step_of(name) or 0, name, sizes) for name, sizes in by_name.items()]
    return sorted(there, key=lambda found: found.step, reverse=True)


def one(store: Store, name: str) -> Remote:
    """The checkpoint of that name, seen afresh; without files when there is none. Raises StoreError."""
    prefix = prefix_of(name)
    sizes = {path[len(prefix) :]: size for path, size in store.list(prefix).items()}
    return Remote(store, folder.step_of(name) or 0, name, sizes)


def prefix_of(name: str) -> str:
    """Where the files of a checkpoint lie, with the slash at the end: step-1 is not step-10."""
    return f"{PREFIX}{name}/"


def mismatched(content: Mapping[str, Any], sizes: Mapping[str, int]) -> list[str]:
    """Files of a manifest that are not there with their size."""
    return [name for name, entry in content["files"].items() if sizes.get(name) != entry["bytes"]]


def best_step(content: Mapping[str, Any] | None) -> int | None:
    """The best step of the run that this manifest knows of."""
    best = (content or {}).get("best")
    step = best.get("step") if isinstance(best, dict) else None
    return step if isinstance(step, int) else None


def best_of(there: list[Remote]) -> int | None:
    """The best step of the run, as the newest complete checkpoint says."""
    newest = next((found for found in there if found.complete), None)
    return best_step(newest.manifest) if newest else None
