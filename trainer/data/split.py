"""The splits of a token set and their windows, wherever the shards come from. Shards are opened when they are read or
wanted."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from trainer.data.order import Numbers
from trainer.data.tokenizer import Tokenizer
from trainer.errors import TrainerError

Values = NDArray[np.unsignedinteger[Any]]

say = logging.getLogger("trainer.data")


class Source(Protocol):
    """Where the shards of a split come from. `hold`: how many may be open when nobody said which are wanted."""

    hold: int

    def open(self, number: int) -> Values:
        """The tokens + 1 values of a shard; may take its time. Raises TrainerError."""

    def release(self, number: int) -> None:
        """The shard is not read for now."""

    def close(self) -> None:
        """Nothing is read any more: ends what `open` is waiting for."""


class Split:
    """tokens: of all shards. shards: windows of `context` tokens in each; windows: in all of them. documents and
    bytes (UTF-8, of the text) are 0 where unknown."""

    def __init__(
        self, name: str, source: Source, tokens: Sequence[int], context: int, documents: int = 0, text_bytes: int = 0
    ) -> None:
        self.name, self.context, self.documents, self.bytes = name, context, documents, text_bytes
        self.tokens = sum(tokens)
        self.shards = tuple(count // context for count in tokens)
        self.windows = sum(self.shards)
        self._source = source
        self._open: dict[int, Values] = {}
        self._opening = [threading.Lock() for _ in tokens]
        self._wish = threading.Lock()
        self._wanted: list[int] | None = None
        self._fresh = False
        self._thread: threading.Thread | None = None
        self._closed = False

    def window(self, shard: int, index: int) -> Values:
        """The context + 1 values of one window: inputs are the first context of them, targets the last context."""
        start = index * self.context
        return self._values(shard)[start : start + self.context + 1]

    def fill(self, shards: Numbers, windows: Numbers, inputs: NDArray[Any], targets: NDArray[Any]) -> None:
        """Row i of inputs and targets (n, context), of any integer dtype, from window windows[i] of shard shards[i]."""
        context = self.context
        for row, (shard, index) in enumerate(zip(shards.tolist(), windows.tolist(), strict=True)):
            values = self._open.get(shard)
            if values is None:
                values = self._values(shard)
            start = index * context
            inputs[row] = values[start : start + context]
            targets[row] = values[start + 1 : start + context + 1]

    def want(self, now: list[int], after: list[int]) -> None:
        """Opens these shards in a thread, `now` first, and releases all others."""
        with self._wish:
            self._wanted, self._fresh = [*now, *after], True
            if self._thread is None and not self._closed:
                self._thread = threading.Thread(target=self._fetch, name=f"shards-{self.name}", daemon=True)
                self._thread.start()
        self._drop([number for number in list(self._open) if number not in set(self._wanted)])

    def describe(self) -> dict[str, int]:
        """tokens; windows; unread: tokens in the tails of shards that are shorter than a window; shards; documents."""
        unread = self.tokens - self.windows * self.context
        sizes = {"tokens": self.tokens, "windows": self.windows, "unread": unread}
        return {**sizes, "shards": len(self.shards), "documents": self.documents, "bytes": self.bytes}

    def close(self) -> None:
        """Ends the thread and releases everything. Arrays that were handed out stay valid."""
        with self._wish:
            self._closed = True
            thread = self._thread
        self._source.close()
        if thread is not None:
            thread.join(timeout=5.0)
        self._drop(list(self._open))

    def _values(self, number: int) -> Values:
        with self._opening[number]:
            values = self._open.get(number)
            if values is None:
                values = self._source.open(number)
                self._open[number] = values
        if self._wanted is None and len(self._open) > self._source.hold:
            self._drop([other for other in list(self._open) if other != number][:1])
        return values

    def _drop(self, numbers: list[int]) -> None:
        for number in numbers:
            with self._opening[number]:
                if self._open.pop(number, None) is not None:
                    self._source.release(number)

    def _fetch(self) -> None:
        """Opens what is wanted, and what is wanted by then, and ends: an idle split has no thread."""
        while True:
            with self._wish:
                if self._closed or not self._fresh:
                    self._thread = None
                    return
                self._fresh, wanted = False, list(self._wanted or ())
            try:
                for number in wanted:
                    if not (self._fresh or self._closed):
                        self._values(number)
            except TrainerError as error:  # who reads the shard meets it again and raises it
                say.warning("reading ahead failed: %s", error.what)
            self._drop([number for number in list(self._open) if number not in set(self._wanted or ())])


@dataclass
class Tokens:
    """train, val: the splits (val None where there is none). sha256: of the index, or of the text; a run's identity.
    vocab: the tokenizer's. token_bytes: UTF-8 bytes of each id, for bits per byte; None where unknown.
    """

    train: Split
    val: Split | None
    vocab: int
    sha256: str
    path: str
    token_bytes: NDArray[np.uint16] | None
    load_tokenizer: Callable[[], Tokenizer]
    more: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """What made the tokens. Loaded when it is first asked for; raises TrainerError when that fails."""
        return self.load_tokenizer()

    def describe(self) -> dict[str, Any]:
        """For run records: path, sha256, vocab, what is known of the source, and Split.describe of each split."""
        splits = {split.name: split.describe() for split in (self.train, self.val) if split is not None}
        return {"path": self.path, "sha256": self.sha256, "vocab": self.vocab, **self.more, **splits}

    def close(self) -> None:
        """Ends downloads and threads."""
        for split in (self.train, self.val):
            if split is not None:
                split.close()
