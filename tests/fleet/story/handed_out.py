"""A data set at a Hub that hands its shards out one by one: a training is never further than the test lets it be.

A step needs its tokens, whatever the machine: with the first n shards handed out, the last step is n * STEPS_PER_SHARD,
and there the run waits for the line as it would for a slow one. No clock is asked.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from tests.sim.hub import HubServer, hub
from trainer.data.order import Order
from trainer.data.prepare import prepare
from trainer.data.wish import Limits, Wish

CONTEXT, BATCH, SEED = 32, 4, 1337
STEPS_PER_SHARD, SHARDS = 16, 8
SHARD = STEPS_PER_SHARD * BATCH * CONTEXT  # tokens
NAME = "tester/tales"
URL = f"hf://datasets/{NAME}/tokens"
EVER = 1 << 30


def prepared(text: Path, folder: Path) -> Path:
    """`text` in shards of so many steps each, in `folder`."""
    limits = Limits(tokens=SHARDS * SHARD + 1)  # the last token is only a target
    made = prepare(Wish([str(text)], folder, "bytes", val=0, shard_tokens=SHARD, limits=limits, workers=1, quiet=True))
    assert made["splits"]["train"]["shards"] == SHARDS, made
    return folder


class HandedOut:
    """The data set at `server`. Its shards are wanted in the order of the first epoch."""

    def __init__(self, server: HubServer, folder: Path) -> None:
        self.server = server
        self._change = threading.Condition()
        self._allowed = 0
        repository = server.repositories.create("dataset", NAME, private=True)
        found = sorted(folder.iterdir())
        repository.commit("main", {f"tokens/{one.name}": repository.keep(one.read_bytes()) for one in found}, "", "")
        order = Order([STEPS_PER_SHARD * BATCH] * SHARDS, SEED, 1)
        self._files = [rf"train-{shard:05d}\.bin" for place in range(SHARDS) for shard in order.shards_of(0, place)]
        for place, file in enumerate(self._files):
            server.faults.before(file, partial(self._wait, place), EVER)

    def steps(self, last: int) -> None:
        """From now on the run may make the steps up to `last`, and none beyond it: where a shard ends."""
        assert last % STEPS_PER_SHARD == 0
        with self._change:
            self._allowed = last // STEPS_PER_SHARD
            self._change.notify_all()

    def all(self) -> None:
        self.steps(SHARDS * STEPS_PER_SHARD)

    def sent(self) -> list[bool]:
        """Of which shards a byte has left, in their order."""
        return [self.server.faults.sent(file) > 0 for file in self._files]

    def variables(self) -> dict[str, str]:
        """For the container. It may wait for a shard as long as the test needs: the trainer itself asks again each
        minute (trainer/data/patience.py)."""
        return {"HF_ENDPOINT": self.server.url, "HF_HUB_DISABLE_XET": "1", "HF_HUB_DOWNLOAD_TIMEOUT": "600"}

    def _wait(self, place: int) -> None:
        with self._change:
            self._change.wait_for(lambda: place < self._allowed)


@contextmanager
def handed_out(tokens: Path, folder: Path) -> Iterator[HandedOut]:
    """The prepared folder `tokens` at a Hub of its own with its files in `folder`; nothing is handed out yet."""
    with hub(folder) as server:
        made = HandedOut(server, tokens)
        try:
            yield made
        finally:
            made.all()  # whoever still waits may go
