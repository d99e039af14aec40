"""What may go of a store: beyond its newest `keep`, once the newest one there was read to its last byte."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path

from trainer.commands.checkpoint_place import say
from trainer.commands.checkpoint_prune import Plan
from trainer.commands.checkpoint_rows import WHOLE
from trainer.commands.checkpoint_store import looked_at
from trainer.commands.checkpoint_verify import at_store
from trainer.errors import REFUSED, TrainerError
from trainer.stores.store import Store
from trainer.sync import prune
from trainer.sync.claims import Claims
from trainer.sync.prune import Rules
from trainer.sync.remote import Remote
from trainer.sync.send import Sending


def planned(url: str, keep: int, every: int, opened: ExitStack) -> Plan:
    """The plan; the store is closed with `opened`. Raises TrainerError, exit code 4, when the newest there does not
    verify, and StoreError."""
    store, there = opened.enter_context(looked_at(url))
    passed = {found.name: found.fault or "" for found in there if not found.complete}
    going = {found.name: found for found in prune.surplus(there, Rules(keep, every), ())}
    sizes = {name: found.bytes for name, found in going.items()}
    plan = Plan(url, None, lambda name: _withdraw(store, going[name]), sizes, passed)
    if not going:
        return plan
    newest = next(found for found in there if found.complete)
    row = at_store(newest, quick=False)
    if row["state"] != WHOLE:
        what = f"{newest.name}, the newest at {url}, is {row['state']}; nothing is deleted there"
        hint = f"`checkpoints verify --all --remote {url}` tells which are good; sync sends a good one again"
        raise TrainerError(f"{what} ({row['why']})" if row["why"] else what, hint, REFUSED)
    plan.verified = newest.name
    return plan


def _withdraw(store: Store, found: Remote) -> int:
    """Its manifest first, so that no reader ever takes half of it; then a look that all is gone."""
    nobodys = Claims(Path(os.devnull), store.url)  # what is complete there is claimed by no sender
    Sending(store, nobodys, lambda _: None, say).withdraw(found)
    say(f"{found.name} is gone from {store.url}")
    return found.bytes
