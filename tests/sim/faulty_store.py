"""A store that does to another one what networks, servers and quotas do: it refuses, cuts, stalls, loses and reorders.

    store = FaultyStore(Folder(url), ["503", "lose", "cut 0.5"], observe)

One fault is taken for every call, in turn; "ok" when there are none left. `observe` is called after every single thing
that changes in the inner store: what is seen then is what a reader could have seen at that moment.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence

from trainer.stores.store import Item, Moved, Store, StoreError


class Killed(BaseException):
    """The process is gone, here and now: nothing of it runs on, no except clause either."""


class FaultyStore:
    """The faults, each a word, some with a number from 0 to 1 (how far it comes before):

    429 (with a wait of one second), 500, 503, denied (not transient); quota (puts alone, not transient, in the middle);
    after (it is done, and then the line breaks); cut F, kill F (what was begun ends there); lose, truncate (says that
    it was done); reorder (the items of one call in another order); vanish (calls `vanish` in the middle of a put);
    stall (sleeps, and says nothing).
    """

    def __init__(
        self,
        inner: Store,
        faults: Iterable[str] = (),
        observe: Callable[[], None] = lambda: None,
        vanish: Callable[[], None] = lambda: None,
    ) -> None:
        self.inner, self.url = inner, inner.url
        self.faults, self.observe, self.vanish = list(faults), observe, vanish
        self.calls: list[str] = []

    def _fault(self, call: str) -> tuple[str, float]:
        self.calls.append(call)
        word, _, number = (self.faults.pop(0) if self.faults else "ok").partition(" ")
        return word, float(number or 0)

    def _before(self, word: str, far: float) -> None:
        if word == "429":
            raise StoreError("429 too many requests", after=1.0)
        if word in ("500", "503"):
            raise StoreError(f"{word} from the server")
        if word == "denied":
            raise StoreError("401 bad token", "give a token", transient=False)
        if word == "stall":
            time.sleep(3600)
        if word in ("cut", "kill") and far == 0:
            self._break(word)

    def _break(self, word: str) -> None:
        raise Killed if word == "kill" else StoreError("the connection was reset")

    def list(self, prefix: str = "") -> dict[str, int]:
        word, far = self._fault(f"list {prefix}")
        self._before(word, far)
        found = self.inner.list(prefix)
        if word in ("after", "cut", "kill"):
            self._break(word)
        return found

    def read(self, name: str, begin: int = 0) -> Iterator[bytes]:
        word, far = self._fault(f"read {name} {begin}")
        self._before(word, far)
        data = b"".join(self.inner.read(name, begin))
        end = int(len(data) * far) if word in ("cut", "kill") else len(data)
        for place in range(0, end, 100):
            yield data[place : min(end, place + 100)]
        if word in ("cut", "kill", "after"):
            self._break(word)

    def put(self, items: Sequence[Item], moved: Moved) -> None:
        word, far = self._fault(f"put {' '.join(item.name for item in items)}")
        self._before(word, far)
        items = list(items)
        if word == "reorder":
            items.reverse()
        last = int(len(items) * far)
        for number, item in enumerate(items):
            if word in ("cut", "kill", "quota") and number == last:
                if word == "quota":
                    raise StoreError("507 the quota is used up", "make room", transient=False)
                self._break(word)
            if word == "vanish" and number == len(items) // 2:
                self.vanish()
            if word == "lose" and number == 0:
                continue
            if word == "truncate" and number == 0:
                data = item.source if isinstance(item.source, bytes) else item.source.read_bytes()
                item = Item(item.name, data[: len(data) // 2], len(data) // 2)
            self.inner.put([item], moved)
            self.observe()
        if word in ("after", "cut", "kill"):
            self._break(word)

    def delete(self, names: Sequence[str]) -> None:
        word, far = self._fault(f"delete {' '.join(names)}")
        self._before(word, far)
        last = int(len(names) * far)
        for number, name in enumerate(names):
            if word in ("cut", "kill") and number == last:
                self._break(word)
            if word == "lose" and number == 0:
                continue
            self.inner.delete([name])
            self.observe()
        if word in ("after", "cut", "kill"):
            self._break(word)

    def close(self) -> None:
        self.inner.close()
