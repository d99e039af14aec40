"""A store as the parts of `checkpoints` look at it: opened, listed with patience, closed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from trainer.commands.checkpoint_place import say

if TYPE_CHECKING:
    from trainer.stores.store import Store
    from trainer.sync.remote import Remote


@contextmanager
def looked_at(url: str) -> Iterator[tuple[Store, list[Remote]]]:
    """The store and its checkpoints, newest first, incomplete ones too, their manifests read.

    Tries again when the line fails. Raises StoreError, and TrainerError for a URL that is none.
    """
    from trainer.stores.open import open_store
    from trainer.sync import remote
    from trainer.sync.patience import Patience, patiently

    def look() -> list[Remote]:
        there = remote.checkpoints(store)
        for found in there:
            _ = found.manifest
        return there

    store = open_store(url)
    try:
        yield store, patiently(f"looking at {store.url}", look, Patience(), say)
    finally:
        store.close()
